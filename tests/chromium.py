"""A headless Chromium, spoken to over a pipe: what a page logs, asks for, shows and looks like."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import suppress

import pytest

PATIENCE_S = 60
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip


def required():
    """Skip where there is no Chromium, with the reason; fail in continuous integration."""
    path = shutil.which("chromium")
    if path is None and os.environ.get("CI"):
        pytest.fail("CI needs Debian's chromium: apt-get install chromium")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    return path


class Browser:
    """One page; use as a context manager."""

    def __init__(self, profile):
        self._profile, self._path = profile, required()
        self._number, self._buffer, self.events = 0, b"", []

    def __enter__(self):
        read_here, self._write = os.pipe()
        self._read, write_here = os.pipe()
        there = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (read_here, write_here)]
        command = f'exec "$0" "$@" 3<&{there[0]} 4>&{there[1]} 2>/dev/null'
        self._process = subprocess.Popen(
            ["bash", "-c", command, self._path, *FLAGS, f"--user-data-dir={self._profile}"],
            pass_fds=there,
        )
        for fd in (read_here, write_here, *there):
            os.close(fd)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        with suppress(OSError, RuntimeError):
            self._session = None
            self.ask("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    _session = None

    def ask(self, method, **params):
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise RuntimeError("Chromium does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("Chromium has ended")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, path, *, width=1200, height=900, scheme="light"):
        """Show a file in a window of that size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())
        self.value("new Promise(done => setTimeout(done, 200))")

    def value(self, expression):
        """What an expression has for a value in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True,
                          awaitPromise=True)  # fmt: skip
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def complaints(self):
        """All that the page logged or raised."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e["params"] for e in self.events if e["method"] in kinds]

    def requests(self):
        """Every address that the page asked for, itself and what it has inline left out."""
        asked = [
            e["params"]["request"]["url"]
            for e in self.events
            if e["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked[1:] if not url.startswith("data:")]

    def screenshot(self, path, *, whole=True):
        """A picture of the page as PNG."""
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

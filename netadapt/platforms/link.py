"""Talk to ``bench.py`` where it runs: in a process here, or at the end of an SSH connection.

The program and the plan both go over standard input, results come back as JSON lines. A lost
connection is taken up again with what is still to be measured.
"""

import base64
import contextlib
import json
import math
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netadapt.errors import DeviceError
from netadapt.platforms.bench.program import program
from netadapt.platforms.replies import Record, parsed, sound

BOOTSTRAP = (
    "import sys;n=int(sys.stdin.buffer.readline());"
    'exec(compile(sys.stdin.buffer.read(n),"bench.py","exec"),{"__name__":"__main__"})'
)
"""What Python is started with: it reads the length of a program, the program, and runs it."""

_LONGEST = 1 << 24
"""Bytes that a line of results may have."""


@dataclass(frozen=True, slots=True)
class Link:
    """How to start Python on a device.

    Attributes:
        command: runs :data:`BOOTSTRAP` there, with its standard input and output connected here.
        name: the device, for errors.
        preamble: sent before the program; what the far end needs to get as far as BOOTSTRAP.
        retries: how often in a row a connection that brought nothing new is tried again.
        pause_s: waited before each of these, doubled each time.
        silence_s: after so long without a record it is taken to hang; infinite to wait for ever.
    """

    command: tuple[str, ...]
    name: str
    preamble: bytes = b""
    retries: int = 0
    pause_s: float = 1.0
    silence_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Item:
    """One model of a plan.

    Attributes:
        id: names it in the results.
        model: makes the ``model`` (base64) or ``path`` of its line, when it is sent.
        visits: how often it is to be visited.
    """

    id: str
    model: Callable[[], Mapping[str, str]]
    visits: int


def encoded(model: bytes) -> dict[str, str]:
    """A serialized ONNX model as it stands in the line of an :class:`Item`."""
    return {"model": base64.b64encode(model).decode()}


Conversation = Callable[[Link, Mapping[str, Any], Sequence[Item]], Iterator[Record]]
"""A function like :func:`converse`."""


def converse(link: Link, settings: Mapping[str, Any], items: Sequence[Item]) -> Iterator[Record]:
    """Run a plan and yield the records of ``bench.py`` as they arrive, the last one ``done``.

    A connection that breaks is made anew, and only what has not arrived is measured again.

    Raises:
        DeviceError: the device cannot be reached, has not what is needed, or stops answering.
    """
    left = {item.id: item.visits for item in items}
    attempts = 0
    reached = False
    pending = list(items)
    while True:
        news = False
        with tempfile.TemporaryFile() as complaints:
            for record in _records(link, settings, pending, left, complaints):
                kind = record["kind"]
                if kind == "fatal":
                    raise DeviceError(_fatal(link, record))
                if kind == "visit":
                    left[record["id"]] -= 1
                elif kind == "error":
                    left[record["id"]] = 0
                reached = True
                news = news or kind in ("visit", "rounds", "error")
                yield record
                if kind == "done" or (kind == "info" and not items):
                    return
            reason = _last_line(complaints)
        attempts = 0 if news else attempts + 1
        if not reached:
            raise DeviceError(_unreached(link, reason))
        if attempts > link.retries or not link.retries:
            raise DeviceError(
                f"{link.name} stopped before all was measured: {reason}. What had arrived by then "
                "is kept; run the same command again to go on."
            )
        pending = [item for item in items if left[item.id] > 0]
        if items and not pending:
            return
        time.sleep(link.pause_s * 2 ** max(attempts - 1, 0) if attempts else link.pause_s / 10)


def _records(
    link: Link,
    settings: Mapping[str, Any],
    items: Sequence[Item],
    left: Mapping[str, int],
    complaints: Any,
) -> Iterator[Record]:
    """One conversation, until the far end falls silent."""
    try:
        process = subprocess.Popen(
            link.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        )
    except OSError as error:
        raise DeviceError(f"Cannot start {link.command[0]}: {error.strerror}.") from error
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = _Watchdog(process.kill, link.silence_s)
    try:
        # bench.py says nothing before it has read everything, so neither side waits for the other
        try:
            source = program()
            process.stdin.write(link.preamble + b"%d\n" % len(source) + source)
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            for item in items:
                asked = {"id": item.id, "passes": left[item.id], **item.model()}
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                watchdog.heard()
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, and has said why
        while (line := process.stdout.readline(_LONGEST)).endswith(b"\n"):  # else it was torn
            record = parsed(line)
            if record is None:
                continue  # a greeting of the shell, or a library that prints
            if not sound(record, left):
                raise DeviceError(_nonsense(link, line))
            watchdog.rest()  # what is done with it here is no silence there
            yield record
            watchdog.heard()
        if len(line) == _LONGEST:
            raise DeviceError(_nonsense(link, line))
        if watchdog.bit:
            raise DeviceError(
                f"{link.name} said nothing for {link.silence_s:g} s and is taken to hang. What had "
                "arrived by then is kept: see whether it works by hand and run the same command "
                "again, with more seconds in ?silence= if it is only slow."
            )
    finally:
        watchdog.stop()
        process.kill()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


_LOOKS_EVERY_S = 10.0


class _Watchdog:
    """Ends a conversation in which nothing is heard for too long.

    Args:
        bite: what ends it.
        silence_s: how long that is; infinite for no watchdog.
    """

    def __init__(self, bite: Callable[[], None], silence_s: float) -> None:
        self.bit = False
        self._bite, self._silence_s = bite, silence_s
        self._heard_s, self._end = time.monotonic(), threading.Event()
        if math.isfinite(silence_s):
            threading.Thread(target=self._watch, daemon=True).start()

    def heard(self) -> None:
        """There is news."""
        self._heard_s = time.monotonic()

    def rest(self) -> None:
        """Nothing is to be heard until there is news."""
        self._heard_s = math.inf

    def stop(self) -> None:
        """It is not needed any more."""
        self._end.set()

    def _watch(self) -> None:
        while (left_s := self._heard_s + self._silence_s - time.monotonic()) > 0:
            if self._end.wait(min(left_s, _LOOKS_EVERY_S)):
                return
        self.bit = True
        self._bite()


def _nonsense(link: Link, line: bytes) -> str:
    return (
        f"{link.name} answered what is no measurement ({line[:80]!r}); see whether the same Python "
        "and onnxruntime run there by hand, and measure again."
    )


_UNREACHED = (
    (r"host key|REMOTE HOST IDENTIFICATION", "SSH does not accept the host key of {name} "
     "({reason}); connect once by hand with 'ssh' and compare the key."),
    (r"Permission denied", "{name} does not let this user in ({reason}); set up a key with "
     "ssh-copy-id, or load yours with ssh-add: nothing can be asked for while measuring."),
    (r"not found|No such file or directory: '|FileNotFoundError|can't execute",
     "{name} has no such Python ({reason}); install Python 3.8 or newer there, or name it with "
     "?python=/path/to/python3."),
    (r"resolve|refused|timed out|unreachable|No route|ssh: connect",
     "{name} cannot be reached ({reason}); check its address, that it is on, and that 'ssh' "
     "connects to it by hand."),
)  # fmt: skip
"""What the far end or ssh says if no conversation begins, and what it means."""


def _unreached(link: Link, reason: str) -> str:
    for pattern, sentence in _UNREACHED:
        if re.search(pattern, reason, re.IGNORECASE):
            return sentence.format(name=link.name, reason=reason)
    return (
        f"{link.name} was reached but nothing measures there ({reason}); try the same by hand, or "
        "see what 'netadapt doctor' says of it."
    )


def _fatal(link: Link, record: Record) -> str:
    if "providers" in record:
        return (
            f"{link.name} has no such execution provider; present: "
            f"{', '.join(record['providers'])}. Use one of these, or install the onnxruntime "
            "package that holds it."
        )
    if "No module named" in record["error"]:
        return (
            f"{link.name} lacks what measures ({record['error'].partition(';')[0]}); install it "
            "there with 'python3 -m pip install numpy onnxruntime', or name a Python that has it "
            "with ?python=/path/to/python3."
        )
    return f"{link.name} cannot measure: {record['error']}."


def _last_line(complaints: Any) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "the connection was closed without a word"

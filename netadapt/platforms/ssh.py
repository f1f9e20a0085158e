"""A device at the end of an SSH connection: ``ssh://pi@raspberrypi``.

The device needs Python 3.8, numpy and onnxruntime, nothing of netadapt. OpenSSH's own client does
the work, so that ~/.ssh/config, agents, jump hosts and known hosts hold as they do in a shell. The
remote command is a constant; what varies goes over standard input, so that no text of a user
reaches a shell.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from netadapt.errors import UsageError
from netadapt.platforms.link import BOOTSTRAP, Link
from netadapt.platforms.ort.options import read_options
from netadapt.platforms.ort.platform import OrtPlatform

_CHOOSE_PYTHON = (
    'import os,sys;p=open(0,"rb",0,closefd=False).readline().decode().strip();'
    'os.execvp(p,[p,"-u","-c",sys.argv[1]])'
)
REMOTE_COMMAND = f"exec python3 -u -c '{_CHOOSE_PYTHON}' '{BOOTSTRAP}'"
"""What the remote shell is given, always the same: Python reads which interpreter to become."""

RETRIES = 4
SILENCE_S = 900.0
"""Without a word for so long, a device is taken to hang."""
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]+(%[A-Za-z0-9]+)?")


def open_ssh(rest: str, options: Mapping[str, str]) -> OrtPlatform:
    """``ssh://user@host:port?python=/home/pi/venv/bin/python``.

    Options besides those of ``ort:`` are ``provider`` (default ``cpu``), ``python`` (the
    interpreter there that has numpy and onnxruntime; default ``python3``), ``config`` (an OpenSSH
    configuration file to use instead of ~/.ssh/config) and ``silence`` (seconds without a word
    after which it is taken to hang; default 900).

    Raises:
        UsageError: the address or an option is not what it should be.
    """
    example = "write it like ssh://pi@raspberrypi or ssh://pi@10.0.0.7:2222"
    try:
        parts = urlsplit(f"ssh:{rest}")
        host, port = _host(parts.netloc), parts.port
    except ValueError as error:
        raise UsageError(f"ssh:{rest} is no address ({error}); {example}.") from error
    if not rest.startswith("//") or parts.path.strip("/") or parts.password is not None:
        raise UsageError(f"ssh:{rest} is no address of a device; {example}.")
    if not _HOST.fullmatch(host) or not _USER.fullmatch(parts.username or "x"):
        raise UsageError(f"ssh:{rest} names no host or user that SSH knows; {example}.")
    python = options.get("python", "python3")
    if "\n" in python:
        raise UsageError("python= of an ssh platform must be one path.")
    own = ("provider", "python", "config", "silence")
    others = {k: v for k, v in options.items() if k not in own}
    address = f"ssh://{parts.netloc}"
    link = Link(
        command=ssh_command(host, parts.username, port, options.get("config")),
        name=address,
        preamble=os.fsencode(python) + b"\n",
        retries=RETRIES,
        silence_s=_silence_s(options.get("silence")),
    )
    chosen = read_options(options.get("provider", "cpu"), others)
    where = {k: v for k, v in options.items() if k in own}
    return OrtPlatform(address, chosen, link, where)


def _silence_s(text: str | None) -> float:
    """The limit that an address gives.

    Raises:
        UsageError: it is no time from a second to a day.
    """
    with suppress(ValueError):
        if text is None or 1 <= float(text) <= 86_400:
            return SILENCE_S if text is None else float(text)
    raise UsageError(f"silence={text} of an ssh platform must be seconds, from 1 to 86400.")


def _host(netloc: str) -> str:
    """The host in the letters that it was given in: names in ~/.ssh/config know upper case."""
    place = netloc.rpartition("@")[2]
    return place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]


def ssh_command(
    host: str, user: str | None, port: int | None, config: str | None
) -> tuple[str, ...]:
    """The ssh client and its arguments; connections to one host share one authentication."""
    # names of one machine may differ in keys, which a connection of the other would pass by
    alias = hashlib.sha256(f"{host} {config}".encode()).hexdigest()[:8]
    settings = {
        "BatchMode": "yes",  # a question could not be answered
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ControlMaster": "auto",
        "ControlPersist": "60",
        "ControlPath": str(control_folder() / f"{alias}-%C"),
    }
    command = ["ssh", "-T"]
    if config is not None:
        command += ["-F", config]
    for name, value in settings.items():
        command += ["-o", f"{name}={value}"]
    if user is not None:
        command += ["-l", user]
    if port is not None:
        command += ["-p", str(port)]
    return (*command, "--", host, REMOTE_COMMAND)


def control_folder() -> Path:
    """Where shared connections are kept; short, since a socket's path may have 104 characters.

    Raises:
        UsageError: it cannot be made, or others have access to it.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base if Path(base).is_absolute() and Path(base).is_dir() else
                  tempfile.gettempdir()) / f"netadapt-ssh-{user}"  # fmt: skip
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UsageError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    if hasattr(os, "getuid") and (found.st_uid != user or stat.S_IMODE(found.st_mode) & 0o077):
        raise UsageError(f"Others have access to {folder}, where connections are kept; remove it.")
    return folder

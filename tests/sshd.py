"""A real SSH server on loopback, with a device's Python: numpy and onnxruntime alone."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import filelock

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
ROOT = Path(__file__).parent.parent
MISSING = SSHD is None or shutil.which("ssh") is None


def bare_python() -> Path:
    """A Python with numpy and onnxruntime alone; installed once, and kept beside the others."""
    folder = ROOT / ".venv" / f"device-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = folder / "bin" / "python", folder / "complete"
    folder.parent.mkdir(exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not stamp.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([python, *install, "numpy", "onnxruntime"], check=True)
            stamp.touch()
    return python


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        process: sshd itself.
        config: what ``ssh -F`` is to read; the server is the host ``device`` there.
        port: where it listens.
    """

    process: "subprocess.Popen[bytes]"
    config: Path
    port: int

    def hang_up(self) -> int:
        """Kill every connection; how many there were."""
        found = children(self.process.pid)
        for child in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return len(found)


def children(parent: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


@contextlib.contextmanager
def serving(folder: Path):
    """A server with keys of its own, and the client's settings for it."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "client_key", "other_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(make, check=True)
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_settings(folder, port)
    command = [SSHD, "-D", "-e", "-f", folder / "sshd_config"]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(port, process, folder / "sshd.log")
        yield Server(process, folder / "config", port)
    finally:
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        process.terminate()
        process.wait()


def write_settings(folder: Path, port: int) -> None:
    """Settings of the server and of the client."""
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    for host, key in (("known", "host_key"), ("wrong", "other_key")):
        public = " ".join((folder / f"{key}.pub").read_text().split()[:2])
        (folder / f"{host}_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    common = f"HostName 127.0.0.1\nPort {port}\nIdentitiesOnly yes\nUser {getpass.getuser()}\n"
    strict = "StrictHostKeyChecking yes\n"
    (folder / "config").write_text(
        f"Host device\n{common}{strict}IdentityFile {folder}/client_key\n"
        f"UserKnownHostsFile {folder}/known_hosts\n"
        f"Host impostor\n{common}{strict}IdentityFile {folder}/client_key\n"
        f"UserKnownHostsFile {folder}/wrong_hosts\n"
        f"Host closed\n{common}{strict}IdentityFile {folder}/other_key\n"
        f"UserKnownHostsFile {folder}/known_hosts\n"
    )


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return as soon as the server listens."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not start: {log.read_text()}")

"""A Ray cluster of two nodes on this machine, as ``ray start`` makes them."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MISSING = "" if importlib.util.find_spec("ray") else "Ray is not installed"

ADDRESSES = ("127.0.0.2", "127.0.0.3")
_ROOT = Path(__file__).parent.parent
_SMALL = (
    "--num-cpus=1", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats",
)  # fmt: skip
_WITHIN_S = 120


@contextmanager
def two_nodes(folder: Path, **variables: str) -> Iterator[str]:
    """Its address while it runs: two nodes of one core each.

    Args:
        folder: for what they say.
        variables: of the environment of all its workers.
    """
    port = _free_port()
    head = ["--head", f"--port={port}", "--include-dashboard=false",
            f"--ray-client-server-port={_free_port()}"]  # fmt: skip
    member = [f"--address={ADDRESSES[0]}:{port}"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]),
        "RAY_raylet_start_wait_time_s": str(_WITHIN_S),
        **variables,
    }
    with ExitStack() as stack:
        for address, own in zip(ADDRESSES, (head, member), strict=True):
            words = ["start", "--block", f"--node-ip-address={address}", *own, *_SMALL]
            stack.enter_context(_node(folder / f"{address}.log", words, environment))
        yield f"{ADDRESSES[0]}:{port}"


@contextmanager
def _node(log: Path, words: list[str], environment: dict[str, str]) -> Iterator[None]:
    with log.open("w") as out:
        node = subprocess.Popen(
            [sys.executable, "-u", "-m", "ray.scripts.scripts", *words],
            env=environment, stdout=out, stderr=out, cwd=_ROOT,
        )  # fmt: skip
    try:
        until_s = time.monotonic() + _WITHIN_S
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        node.terminate()
        node.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESSES[0], 0))
        return int(probe.getsockname()[1])

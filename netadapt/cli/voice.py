"""Which of several processes says what ends them all."""

import io
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta

from netadapt.errors import WorkerError

GRACE_S = 3.0
"""What a process that only saw others end leaves them, to say why they did."""


@contextmanager
def spoken_once(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Within it a process that is not the first of several says nothing: the first says the same.

    Args:
        environment: what says which it is.
    """
    if environment.get("RANK") in (None, "0"):
        yield
        return
    nowhere = io.StringIO()
    with redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def speaks(error: BaseException) -> bool:
    """Whether this is the first of them to ask: what it says of an error is said for all.

    They ask the store that ``torchrun`` keeps for them. Where there is none to ask, as when the
    processes were started by other means and the first has ended, it is the first on each machine.
    """
    if isinstance(error, WorkerError):  # a reason, where there is one, is of another process
        time.sleep(GRACE_S)
    told = os.environ.get
    host, port = told("MASTER_ADDR", ""), told("MASTER_PORT", "")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()  # torch would try for long
        import torch.distributed as dist

        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, int(port), is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False
        )
        key = f"netadapt/told/{told('TORCHELASTIC_RESTART_COUNT', '0')}"
        return int(store.add(key, 1)) == 1
    except (ValueError, OverflowError, OSError, RuntimeError):
        return told("LOCAL_RANK") in (None, "0")

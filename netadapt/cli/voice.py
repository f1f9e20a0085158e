"""Which of several processes says what ends them all."""

import os
import socket
from datetime import timedelta


def speaks() -> bool:
    """Whether this is the first of them to ask: what it says is said for all.

    They ask the store that ``torchrun`` keeps for them. Where there is none to ask, as when the
    processes were started by other means and the first has ended, it is the first on each machine.
    """
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

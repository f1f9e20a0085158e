"""Which of several processes says what ends them all."""

import os


def speaks() -> bool:
    """Whether this is the first of them to ask: what it says is said for all.

    They ask the store that ``torchrun`` keeps for them. Where there is none to ask, as when the
    processes were started by other means and the first has ended, it is the first on each machine.
    """
    from datetime import timedelta

    from torch.distributed import DistError, TCPStore

    try:
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=5),
            wait_for_workers=False,
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return int(store.add(f"netadapt/told/{attempt}", 1)) == 1
    except (KeyError, ValueError, RuntimeError, DistError):
        return os.environ.get("LOCAL_RANK", "0") == "0"

"""Who tries the candidates of a run: this process, others here, one for each GPU, or Ray."""

import re
from dataclasses import dataclass

from netadapt.errors import UsageError

MOST = 1024
"""More processes than this on one machine are a slip of the finger."""

_GPUS = re.compile(r"cuda(:\d+)?(,cuda(:\d+)?)*")
_RAY = re.compile(r"ray|ray://[^\s/?#]+:\d+")


@dataclass(frozen=True, slots=True)
class Workers:
    """Who tries candidates.

    Attributes:
        count: of processes on this machine; 1 for this process itself, 0 for a Ray cluster.
        gpus: what each of them trains on; empty where all train as the run does.
        cluster: address of a Ray cluster, ``auto`` for the one that runs here; empty for none.
    """

    count: int = 1
    gpus: tuple[str, ...] = ()
    cluster: str = ""


def parse_workers(text: str) -> Workers:
    """Read ``2``, ``cuda:0,cuda:1``, ``ray`` or ``ray://head:10001``.

    Raises:
        UsageError: it is none of these; the message is the rest of a sentence about it.
    """
    plain = text.replace(" ", "")
    if plain.isascii() and plain.isdigit() and len(plain) < 10 and 1 <= int(plain) <= MOST:
        return Workers(int(plain))
    if _GPUS.fullmatch(plain):
        gpus = tuple(plain.split(","))
        return Workers(len(gpus), gpus)
    if _RAY.fullmatch(plain):
        return Workers(0, cluster="auto" if plain == "ray" else plain)
    raise UsageError(
        f"is {text!r}; give a number of processes from 1 to {MOST}, GPUs such as cuda:0,cuda:1, "
        "ray, or the address of a Ray cluster such as ray://head:10001."
    )

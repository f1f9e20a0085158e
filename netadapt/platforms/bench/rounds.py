"""Networks that are compared, in turn, until it is known how they compare.

A machine has fast and slow regimes that last from milliseconds to seconds. Two runs one after the
other mostly share one, so that the median of their ratios varies far less from repetition to
repetition than the ratio of what each network takes alone. A turn is a run that counts after some
that do not: the first after another network finds that one's data in the caches, and a small
network, which has little else to do, is made to look larger than it is where it runs by itself.
"""

from __future__ import annotations

import gc
import math
import time
from typing import Any, Sequence  # noqa: UP035 - Python 3.8 has no other

from .timer import Entry, Timer

LEAST = 32
"""Rounds before which nothing is decided."""

BATCHES = 16
WARM_NS = 100_000_000
"""Warm-ups of a turn take no longer; in a run of that length hardly anything is still cached."""

NORMAL = 1.96
"""The 97.5 % quantile of the normal distribution: half of a 95 % interval in deviations."""

_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131,
)  # fmt: skip
_LINE = 16  # rounds to a line of results
_MORE = 1.1  # times the rounds, before it is asked again whether they are enough


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; beyond 15 degrees that of 15, which is cautious."""
    return _STUDENT[min(freedom, len(_STUDENT)) - 1]


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the median, by the method of batch means.

    The values, in the order taken, are cut into 16 batches, and the medians of these are taken as
    independent (Law and Kelton, Simulation Modeling and Analysis, section 9.5.3). Values that
    follow each other may resemble each other, which an interval from all of them would not know.
    Infinite for fewer than 32 values.
    """
    if len(values) < LEAST:
        return math.inf
    edges = [round(k * len(values) / BATCHES) for k in range(BATCHES + 1)]
    middles = [median(values[edges[k] : edges[k + 1]]) for k in range(BATCHES)]
    mean = sum(middles) / BATCHES
    variance = sum((m - mean) ** 2 for m in middles) / (BATCHES - 1)
    return student(BATCHES - 1) * math.sqrt(variance / BATCHES)


def measure_in_rounds(timer: Timer, lines: list[dict[str, Any]]) -> float:
    """Run all models in turn; the seconds spent in runs.

    Where not all of them can be held ready at the same time, they are visited one by one instead.
    """
    entries = [Entry(line, 1) for line in lines]
    if timer.alone:
        return timer.measure(lines)
    began_s = time.perf_counter()
    if len(timer.load(entries)) < len(entries):
        for entry in entries:
            entry.session = None
        return timer.measure(lines)
    gc.disable()  # a collection would fall into some model's time
    ready = [entry for entry in entries if not entry.failed]
    taken: dict[str, list[int]] = {entry.id: [] for entry in ready}
    pending: list[tuple[int, ...]] = []
    slowest_ns = max([1, *(timer.warm_up(entry) for entry in ready)])
    warmups = min(timer.settings["warmups"], WARM_NS // slowest_ns)  # the same for all
    due, tries = LEAST, 0
    while ready and not timer.late():
        spent = _round(timer, ready, tries, warmups)
        tries += 1
        if any(entry.failed for entry in ready):
            _report(timer, ready, pending)
            ready = [entry for entry in ready if not entry.failed]
            taken = {entry.id: taken[entry.id] for entry in ready}
            continue
        if min(spent) > 0:  # the thread clock of a virtual machine may stand still
            pending.append(spent)
            for place, entry in enumerate(ready):
                taken[entry.id].append(spent[place])
        elif tries > 2 * len(taken[ready[0].id]) + 10 * LEAST:
            break  # it stands still most of the time
        if len(pending) == _LINE:
            _report(timer, ready, pending)
        rounds = len(taken[ready[0].id])
        if rounds >= due and time.perf_counter() - began_s >= timer.settings["spread_s"]:
            if _enough(timer, list(taken.values())):
                break
            due = math.ceil(_MORE * rounds)
        timer.renew(ready)
    _report(timer, ready, pending)
    return timer.run_s


def _round(timer: Timer, ready: Sequence[Entry], number: int, warmups: int) -> tuple[int, ...]:
    """Nanoseconds of one turn of each, the first of them another one each time."""
    first = number % len(ready)
    spent = {}
    for entry in [*ready[first:], *ready[:first]]:
        for _ in range(warmups):
            timer.once(entry)
        spent[entry.id] = timer.once(entry)
    lost = sum(ns <= 0 for ns in spent.values())
    timer.lost += lost
    return tuple(spent[entry.id] for entry in ready)


def _enough(timer: Timer, taken: list[list[int]]) -> bool:
    """Whether all have run for long enough, and their ratios to the first are known."""
    if any(sum(ns) < timer.settings["min_seconds"] * 1e9 for ns in taken):
        return False
    first = taken[0]
    ratios = [[other[k] / first[k] for k in range(len(first))] for other in taken[1:]]
    return all(half_width(r) <= timer.settings["precision"] * median(r) for r in ratios)


def _report(timer: Timer, ready: Sequence[Entry], pending: list[tuple[int, ...]]) -> None:
    """Say what the rounds since the last line took, and forget them."""
    if pending:
        ns = {entry.id: [spent[place] for spent in pending] for place, entry in enumerate(ready)}
        timer.emit({"kind": "rounds", "ns": ns})
    pending.clear()

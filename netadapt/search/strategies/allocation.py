"""Sizes of all groups at once that are worth most within the targets.

Choosing one size for each group, each with a value and a cost, is a multiple-choice knapsack.
:func:`choose` solves it exactly by dynamic programming. Costs of a network are not quite of that
form: a layer's cost depends on its inputs and its outputs, so that two neighbours that shrink
together save less than the sum of what each saves alone. :func:`allocate` therefore takes the
costs of each group's sizes *around* a network, with the other groups as they are there, solves,
and does the same around the solution; every solution is priced as a whole before it counts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from netadapt.network import Sizes
from netadapt.search.pricing import Loads

BINS = 2000
"""Steps that the cost is counted in."""

ROUNDS = 5
"""How often at most costs are taken anew around the last solution."""

HALVINGS = 12
"""How often the range of the capacity is halved."""

Values = Mapping[str, Mapping[int, float]]
"""For each group, the sizes allowed to it, and what each is worth."""


def choose(
    values: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], capacity: float
) -> list[int] | None:
    """One item of each list, worth most together at a cost of at most ``capacity``.

    Costs are rounded up to steps of a 2000th of the capacity, so that the cost of what is chosen
    is never under-counted; among choices that fit after rounding, the best is found.

    Args:
        values: of the items of each list.
        costs: of the same items, none negative.
        capacity: what they may cost together.

    Returns:
        The place of the chosen item in each list; None if nothing fits.
    """
    if capacity < 0:
        return None
    steps = [_steps(np.asarray(of, dtype=float), capacity) for of in costs]
    best = np.zeros(BINS + 1)  # best[c]: the most that the lists so far are worth at c steps
    picks: list[npt.NDArray[np.intp]] = []
    for worth, step in zip(values, steps, strict=True):
        rows = np.full((len(worth), BINS + 1), -np.inf)
        for row, value, cost in zip(rows, worth, step, strict=True):
            if cost <= BINS:
                row[cost:] = best[: BINS + 1 - cost] + value
        picks.append(rows.argmax(axis=0))
        best = rows.max(axis=0)
    if np.isneginf(best[BINS]):
        return None
    chosen, left = [], BINS
    for pick, step in zip(reversed(picks), reversed(steps), strict=True):
        chosen.append(int(pick[left]))
        left -= int(step[chosen[-1]])
    return chosen[::-1]


def _steps(costs: npt.NDArray[np.float64], capacity: float) -> npt.NDArray[np.int64]:
    """Costs in steps, rounded up; what costs more than there is costs one step more than that."""
    if capacity == 0:
        return np.where(costs > 0, BINS + 1, 0)
    return np.minimum(np.ceil(costs / capacity * BINS), BINS + 1).astype(np.int64)


def allocate(loads: Loads, values: Values) -> dict[str, int] | None:
    """The sizes worth most together that are within every target, as priced together.

    The capacity given to :func:`choose` is the largest, found by halving, at which the solution is
    within the targets; this makes up for rounding and for what costs around a network get wrong
    away from it. Of several bounds the loads are weighted by how much each has yet to fall, and
    each is checked alone in the end.

    Args:
        loads: of the iteration.
        values: the sizes allowed to each group, present ones among them where they may stay.

    Returns:
        A size for each group in ``values``; None if none were found within the targets.
    """
    best: dict[str, int] | None = None
    around: Sizes = loads.sizes
    for _ in range(ROUNDS):
        found = _around(loads, values, around)
        if found is None or (best is not None and worth(values, found) <= worth(values, best)):
            break
        best = found
        around = {**loads.sizes, **found}
    return best


def worth(values: Values, sizes: Sizes) -> float:
    """What these sizes are worth together."""
    return sum(of[sizes[group]] for group, of in values.items())


def _around(loads: Loads, values: Values, sizes: Sizes) -> dict[str, int] | None:
    """The best sizes within the targets, with costs as they are around ``sizes``."""
    there = loads.moved(sizes)
    share = _shares(loads)

    def weighed(changes: Sizes) -> float:
        return sum(share[key] * value for key, value in there.each(changes).items())

    offered = [list(of) for of in values.values()]
    prices = [
        [weighed({group: size}) for size in of]
        for group, of in zip(values, offered, strict=True)
    ]  # fmt: skip
    cheapest = [min(of) for of in prices]
    costs = [[price - least for price in of] for of, least in zip(prices, cheapest, strict=True)]
    worths = [list(of.values()) for of in values.values()]

    def within(capacity: float) -> dict[str, int] | None:
        places = choose(worths, costs, capacity)
        assert places is not None  # the cheapest of each group cost nothing
        found = {g: of[place] for g, of, place in zip(values, offered, places, strict=True)}
        return found if loads.changed(found) <= 1 else None

    best = within(0.0)
    low, high = 0.0, 2 * sum(max(of) for of in costs)
    for _ in range(HALVINGS if best else 0):
        middle = (low + high) / 2
        found = within(middle)
        if found is None:
            high = middle
        else:
            best, low = found, middle
    return best


def _shares(loads: Loads) -> dict[str, float]:
    excess = {key: max(0.0, load - 1) for key, load in loads.each({}).items()}
    total = sum(excess.values())
    return {key: of / total if total else 1 / len(excess) for key, of in excess.items()}

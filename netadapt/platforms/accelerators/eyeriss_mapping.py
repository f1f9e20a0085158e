"""The mapping that costs the least on Eyeriss, searched once for each shape and then remembered.

The chip's own mappings were not always the best ones: this search is a *best-mapping estimate*,
which for VGG-16 needs half the energy that the chip needed.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import ceil

from netadapt.errors import UnmappableLayer
from netadapt.platforms.accelerators.eyeriss_costs import CostSet
from netadapt.platforms.accelerators.loops import Loops
from netadapt.platforms.accelerators.row_stationary import (
    FILTER_WORDS,
    IFMAP_WORDS,
    ROWS,
    WIDEST_TILE,
    RowStationary,
    accesses,
    most_filters,
    sets_of,
)

_STRIP_ROWS = (56, 28, 27, 14, 13, 7, 4, 2, 1)
_FILTER_SETS = (1, 2, 3, 4, 6, 12)
_FILTERS = (16, 8, 4, 2, 1)


@lru_cache(maxsize=100_000)
def best_mapping(loops: Loops, batch: int, costs: CostSet) -> RowStationary:
    """Of all mappings that fit, the one with the least energy, DRAM included, for dense inputs.

    Zeros in the inputs are left out: the mapping then depends on the shape alone.

    Raises:
        UnmappableLayer: none fits.
    """
    best: tuple[float, RowStationary] | None = None
    for mapping in _candidates(loops, batch):
        energy_j = costs.energy_j(accesses(loops, mapping, batch))
        if best is None or energy_j < best[0]:
            best = (energy_j, mapping)
    if best is None:
        raise UnmappableLayer(
            f"A convolution with a {loops.kernel[0]}x{loops.kernel[1]} kernel does not fit an "
            f"array with {ROWS} rows and {IFMAP_WORDS} words of input in each element."
        )
    return best[1]


def _candidates(loops: Loops, batch: int) -> Iterator[RowStationary]:
    """Mappings that fit the array and its memories, with as many sums as the buffer holds."""
    height = loops.out_hw[0]
    rows_out = ceil(height / ceil(height / WIDEST_TILE))
    images = batch * loops.images
    for e, r, t in _arrays(loops, rows_out):
        for p, q in _interleavings(loops):
            for u in _side_by_side(loops, e, r * t):
                for n in sorted({images, max(1, images // 2), 1}):
                    mapping = _with_sums(loops, RowStationary(e, p, q, r, t, p * t, n, u))
                    if mapping is None:
                        break  # more images need even more room
                    yield mapping


def _arrays(loops: Loops, rows_out: int) -> Iterator[tuple[int, int, int]]:
    """Ways to lay sets of processing elements on the array: columns ``e``, ``r``, ``t``."""
    if loops.kernel[0] > ROWS:
        return
    for e in sorted({min(rows_out, rows) for rows in (rows_out, *_STRIP_ROWS)}, reverse=True):
        sets = sets_of(loops.kernel[0], e)
        for t in _FILTER_SETS:
            if t <= sets:
                yield e, min(sets // t, loops.channels), t


def _interleavings(loops: Loops) -> Iterator[tuple[int, int]]:
    """Filters ``p`` and channels ``q`` that one processing element can hold."""
    for q in range(1, min(loops.channels, IFMAP_WORDS // loops.kernel[1]) + 1):
        for p in _FILTERS:
            if p <= loops.filters and p * q * loops.kernel[1] <= FILTER_WORDS:
                yield p, q


def _side_by_side(loops: Loops, e: int, sets_taken: int) -> range:
    """How many groups can share the array."""
    most = sets_of(loops.kernel[0], e) // sets_taken
    return range(1, min(most, loops.groups) + 1)


def _with_sums(loops: Loops, mapping: RowStationary) -> RowStationary | None:
    """The mapping with the sums of as many filter passes as the buffer holds; None if of none.

    The more sums stay, the less often the inputs are read from DRAM; nothing else changes.
    """
    of_a_pass = mapping.p * mapping.t
    passes = min(most_filters(loops, mapping) // of_a_pass, ceil(loops.filters / of_a_pass))
    return replace(mapping, m=passes * of_a_pass) if passes >= 1 else None

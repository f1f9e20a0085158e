"""The mapping that costs the least on Eyeriss, searched once for each shape and then remembered.

For AlexNet it finds all five mappings of the chip. For VGG-16 it finds better ones, which need half
the chip's energy: call its results a *best-mapping estimate*.
"""

from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

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

_Array = NDArray[np.float64]

_STRIP_ROWS = (56, 28, 27, 14, 13, 7, 4, 2, 1)
_FILTER_SETS = (1, 2, 3, 4, 6, 12)
_FILTERS = (1, 2, 4, 8, 16)


@lru_cache(maxsize=100_000)
def best_mapping(loops: Loops, batch: int, costs: CostSet) -> RowStationary[float]:
    """Of all mappings that fit, the one with the least energy, DRAM included, for dense inputs.

    Zeros in the inputs are left out: the mapping then depends on the shape alone.

    Raises:
        UnmappableLayer: none fits.
    """
    mappings = _candidates(loops, batch)
    if not mappings.e.size:
        raise UnmappableLayer(
            f"A convolution with a {loops.kernel[0]}x{loops.kernel[1]} kernel does not fit an "
            f"array with {ROWS} rows and {IFMAP_WORDS} words of input in each element."
        )
    best = int(np.argmin(costs.energy_pj(accesses(loops, mappings, batch))))
    return RowStationary(*(int(getattr(mappings, name)[best]) for name in _LETTERS))


_LETTERS = ("e", "p", "q", "r", "t", "m", "n", "u")


def _candidates(loops: Loops, batch: int) -> RowStationary[_Array]:
    """Mappings that fit the array and its memories, with as many sums as the buffer holds.

    The more sums stay in the buffer, the less often inputs are read from DRAM; nothing else
    changes.
    """
    e, t, q, p, u, n = _grid(loops, batch)
    sets = sets_of(loops.kernel[0], e)
    r = np.minimum(sets // t, loops.channels)
    fitting = (t <= sets) & (p * q * loops.kernel[1] <= FILTER_WORDS)
    fitting &= u * np.maximum(r, 1) * t <= sets
    e, t, q, p, u, n, r = (column[fitting] for column in (e, t, q, p, u, n, r))
    of_a_pass = p * t
    room = most_filters(loops, RowStationary(e, p, q, r, t, of_a_pass, n, u))
    m = np.minimum(room // of_a_pass, np.ceil(loops.filters / of_a_pass)) * of_a_pass
    return RowStationary(*(column[m >= of_a_pass] for column in (e, p, q, r, t, m, n, u)))


def _grid(loops: Loops, batch: int) -> tuple[_Array, ...]:
    """Every combination of e, t, q, p, u and n, each as a column."""
    height = loops.out_hw[0]
    rows_out = ceil(height / ceil(height / WIDEST_TILE))
    images = batch * loops.images
    most_sets = int(sets_of(loops.kernel[0], 1.0))
    axes = (
        sorted({min(rows_out, rows) for rows in (rows_out, *_STRIP_ROWS)}, reverse=True),
        _FILTER_SETS,
        range(1, min(loops.channels, IFMAP_WORDS // loops.kernel[1]) + 1),
        [p for p in _FILTERS if p <= loops.filters],
        sorted(u for u in _side_by_side(loops.groups) if u <= most_sets),
        sorted(_images_of_a_pass(images)),
    )
    grid = np.meshgrid(*(np.array(axis, dtype=np.float64) for axis in axes), indexing="ij")
    return tuple(axis.ravel() for axis in grid)


def _images_of_a_pass(images: int) -> set[int]:
    """Powers of two, and all images halved again and again: twice the images have these too."""
    lengths = range(images.bit_length())
    return {1 << n for n in lengths} | {ceil(images / (1 << n)) for n in lengths}


def _side_by_side(groups: int) -> set[int]:
    """The least groups at once for each number of passes over all of them."""
    return {ceil(groups / passes) for passes in range(1, groups + 1)}

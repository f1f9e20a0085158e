"""Accesses and time of a row-stationary mapping on Eyeriss.

Source: Chen, Krishna, Emer and Sze, "Eyeriss: an energy-efficient reconfigurable accelerator for
deep convolutional neural networks", JSSC 52(1), 2017; letters as in its table III. The time of a
pass and of data from DRAM (two constants) were fitted to the 18 layers that the paper measures.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from netadapt.platforms.accelerators.loops import Loops

ROWS, COLUMNS = 12, 14
CLOCK_HZ = 200e6
WORD_BYTES = 2
BUFFER_BYTES = 100_000
"""Of the 108 kB buffer, what inputs and sums share; decimal, which the published mappings need."""

IFMAP_WORDS, FILTER_WORDS, PSUM_WORDS = 12, 224, 24
"""Words that one processing element holds of each kind."""

WIDEST_TILE = 112
"""Rows and columns of output that are computed at once; larger maps go in tiles."""

BUS_WORDS = 4  # 64 bits for filters and sums; inputs come one word at a time
PASS_CYCLES = 300  # fitted: filling and draining the array
DRAM_S_PER_BYTE = 1.3e-9  # fitted: what transfers do not overlap with computing
RLC_EXPANSION = 64 / 48  # three words that are not zero take 64 bits


@dataclass(frozen=True, slots=True)
class RowStationary:
    """How a layer is cut to fit the chip (JSSC 2017, table III).

    Attributes:
        e: columns of a set of processing elements; adjacent rows of output computed at once.
        p: filters that each element interleaves.
        q: channels that each element interleaves.
        r: sets that work on other channels at the same time.
        t: sets that work on other filters at the same time.
        m: filters whose sums stay in the buffer.
        n: images of a pass.
        u: groups side by side, such as channels of a depthwise convolution.
    """

    e: int
    p: int
    q: int
    r: int
    t: int
    m: int
    n: int
    u: int = 1


@dataclass(frozen=True, slots=True)
class Zeros:
    """Shares of zeros, between 0 and 1: each gates a multiplication, and compresses in DRAM."""

    ifmap: float = 0.0
    ofmap: float = 0.0


DENSE = Zeros()


@dataclass(frozen=True, slots=True)
class Accesses:
    """What a mapping moves for a whole batch, in words of 16 bits, and how long it takes.

    Attributes:
        macs: multiply-accumulates, those with a zero included.
        nonzero_macs: those whose input is not zero.
        array_psum: sums handed from one processing element to the next.
        buffer_ifmap, buffer_psum: words in and out of the global buffer; weights pass it by.
        dram_ifmap, dram_weight, dram_psum: words from and to DRAM after compression.
        cycles: of the processing elements, without waiting for DRAM.
    """

    macs: int
    nonzero_macs: float
    array_psum: int
    buffer_ifmap: int
    buffer_psum: int
    dram_ifmap: float
    dram_weight: int
    dram_psum: float
    cycles: float

    @property
    def buffer_bytes(self) -> int:
        """Traffic of the global buffer."""
        return WORD_BYTES * (self.buffer_ifmap + self.buffer_psum)

    @property
    def dram_words(self) -> float:
        """Traffic of DRAM in words."""
        return self.dram_ifmap + self.dram_weight + self.dram_psum

    @property
    def processing_s(self) -> float:
        """Seconds that the array is busy."""
        return self.cycles / CLOCK_HZ

    @property
    def total_s(self) -> float:
        """Seconds from the first word to the last, DRAM included."""
        return self.processing_s + DRAM_S_PER_BYTE * WORD_BYTES * self.dram_words


@dataclass(frozen=True, slots=True)
class Cut:
    """A layer's maps as they are cut into tiles, and tiles into strips of ``e`` rows of output."""

    tiles: int
    rows_out: int
    columns_out: int
    columns_in: int
    strips: int
    rows_in: int


@lru_cache(maxsize=4096)
def cut(loops: Loops, e: int) -> Cut:
    """Tiles and strips of one image, with the input rows and columns of one tile.

    Strips overlap in the input. The last one is read in full where the stride is above 1: the
    chip reads 8 strips of 35 rows for the 55 rows that AlexNet's first layer puts out.
    """
    down, across = (ceil(side / WIDEST_TILE) for side in loops.out_hw)
    rows_out, columns_out = ceil(loops.out_hw[0] / down), ceil(loops.out_hw[1] / across)
    strips = ceil(rows_out / e)
    rows_in = loops.rows_in(rows_out)
    if strips > 1:
        rows_in = strips * loops.rows_in(e)
        if loops.stride[0] == 1:
            rows_in -= strips * e - rows_out
    return Cut(
        down * across, rows_out, columns_out, loops.columns_in(columns_out), strips, rows_in
    )  # fmt: skip


def compressed(zeros: float) -> float:
    """Size after run-length coding of zeros, relative; what would grow is stored as it is."""
    return min(1.0, (1 - zeros) * RLC_EXPANSION)


def accesses(loops: Loops, mapping: RowStationary, batch: int, zeros: Zeros = DENSE) -> Accesses:
    """Words moved at each level, and cycles, for a batch.

    Every pass reads and writes every sum in the buffer, the first one too; inputs leave it once
    for each pass over filters and are multicast from there.
    """
    pieces = cut(loops, mapping.e)
    images = batch * loops.images
    channels = min(mapping.q * mapping.r, loops.channels)  # of a pass
    filters = min(mapping.p * mapping.t, loops.filters)
    channel_passes = ceil(loops.channels / channels)
    filter_passes = ceil(loops.filters / filters)
    image_passes = ceil(images / mapping.n)
    window = loops.kernel[0] * loops.kernel[1]
    outputs = images * loops.groups * loops.filters * loops.out_hw[0] * loops.out_hw[1]
    inputs = (
        images * pieces.tiles * loops.groups * loops.channels * pieces.rows_in * pieces.columns_in
    )
    chain = loops.kernel[0] * min(mapping.r, ceil(loops.channels / mapping.q))
    passes = (
        ceil(loops.groups / mapping.u) * pieces.tiles * pieces.strips
        * channel_passes * filter_passes * image_passes
    )  # fmt: skip
    weights = loops.groups * loops.filters * loops.channels * window
    macs = batch * loops.macs
    return Accesses(
        macs=macs,
        nonzero_macs=macs * (1 - zeros.ifmap),
        array_psum=outputs * channel_passes * (chain - 1),
        buffer_ifmap=inputs * filter_passes,
        buffer_psum=2 * outputs * channel_passes,
        dram_ifmap=inputs * ceil(loops.filters / mapping.m) * compressed(zeros.ifmap),
        dram_weight=weights * pieces.tiles * pieces.strips * image_passes,
        dram_psum=outputs * compressed(zeros.ofmap),
        cycles=passes * _pass_cycles(loops, mapping, pieces, channels, filters),
    )


def _pass_cycles(
    loops: Loops, mapping: RowStationary, pieces: Cut, channels: int, filters: int
) -> float:
    """Cycles of one pass: the slowest of computing, sums and inputs, then filters, then filling."""
    columns = pieces.columns_out
    computing = mapping.n * columns * loops.kernel[1] * mapping.q * mapping.p
    sums = mapping.n * mapping.u * (pieces.rows_out / pieces.strips) * columns * filters / BUS_WORDS
    rows = pieces.rows_in / pieces.strips
    inputs = mapping.n * mapping.u * channels * rows * pieces.columns_in
    words = mapping.u * filters * channels * loops.kernel[0] * loops.kernel[1]
    return max(computing, sums, inputs) + words / BUS_WORDS + PASS_CYCLES


def sets_of(kernel_rows: int, e: int) -> int:
    """Sets of ``kernel_rows`` x ``e`` processing elements that fit the array, folded if wider."""
    if e <= COLUMNS:
        return (ROWS // kernel_rows) * (COLUMNS // e)
    return ROWS // (kernel_rows * ceil(e / COLUMNS))


def most_filters(loops: Loops, mapping: RowStationary) -> int:
    """Filters whose sums fit the global buffer beside the inputs of a pass: a bound on ``m``."""
    pieces = cut(loops, mapping.e)
    rows = min(mapping.e, pieces.rows_out)
    inputs = mapping.q * mapping.r * loops.rows_in(rows) * pieces.columns_in
    words = BUFFER_BYTES // (WORD_BYTES * mapping.u * mapping.n)
    return (words - inputs) // (rows * pieces.columns_out)

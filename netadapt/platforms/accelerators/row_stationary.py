"""Accesses and time of a row-stationary mapping on Eyeriss.

Source: Chen, Krishna, Emer and Sze, "Eyeriss: an energy-efficient reconfigurable accelerator for
deep convolutional neural networks", JSSC 52(1), 2017; letters as in its table III. The time of a
pass and of data from DRAM (two constants) were fitted to the 18 layers that the paper measures.
"""

from dataclasses import dataclass
from math import ceil
from typing import Generic

from netadapt.platforms.accelerators.loops import Loops, N

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
class RowStationary(Generic[N]):
    """How a layer is cut to fit the chip (JSSC 2017, table III); or, of arrays, many ways at once.

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

    e: N
    p: N
    q: N
    r: N
    t: N
    m: N
    n: N
    u: N


@dataclass(frozen=True, slots=True)
class Zeros:
    """Shares of zeros, between 0 and 1: each gates a multiplication, and compresses in DRAM.

    Attributes:
        ifmap, ofmap: of a layer's input and output.
        coded: whether the input is compressed: images, which enter a network, are not.
    """

    ifmap: float = 0.0
    ofmap: float = 0.0
    coded: bool = True


DENSE = Zeros()


@dataclass(frozen=True, slots=True)
class Accesses(Generic[N]):
    """What a mapping moves for a whole batch, in words of 16 bits, and how long it takes.

    Attributes:
        macs: multiply-accumulates, those with a zero included.
        nonzero_macs: those whose input is not zero.
        array_psum: sums handed from one processing element to the next.
        buffer_ifmap, buffer_psum: words in and out of the global buffer; weights pass it by.
        dram_ifmap, dram_weight, dram_psum: words from and to DRAM after compression.
        cycles: of the processing elements, without waiting for DRAM.
    """

    macs: float
    nonzero_macs: float
    array_psum: N
    buffer_ifmap: N
    buffer_psum: N
    dram_ifmap: N
    dram_weight: N
    dram_psum: float
    cycles: N

    @property
    def buffer_bytes(self) -> N:
        """Traffic of the global buffer."""
        return WORD_BYTES * (self.buffer_ifmap + self.buffer_psum)

    @property
    def dram_words(self) -> N:
        """Traffic of DRAM in words."""
        return self.dram_ifmap + self.dram_weight + self.dram_psum

    @property
    def processing_s(self) -> N:
        """Seconds that the array is busy."""
        return self.cycles / CLOCK_HZ

    @property
    def total_s(self) -> N:
        """Seconds from the first word to the last, DRAM included."""
        return self.processing_s + DRAM_S_PER_BYTE * WORD_BYTES * self.dram_words


@dataclass(frozen=True, slots=True)
class Cut(Generic[N]):
    """A layer's maps as they are cut into tiles, and tiles into strips of ``e`` rows of output."""

    tiles: int
    rows_out: int
    columns_out: int
    columns_in: int
    strips: N
    strip_rows: N
    rows_in: N


def cut(loops: Loops, e: N) -> Cut[N]:
    """Tiles and strips of one image, with the input rows and columns of one tile.

    Strips overlap in the input. The last one is read in full where the stride is above 1: the
    chip reads 8 strips of 35 rows for the 55 rows that AlexNet's first layer puts out.
    """
    down, across = (ceil(side / WIDEST_TILE) for side in loops.out_hw)
    rows_out, columns_out = ceil(loops.out_hw[0] / down), ceil(loops.out_hw[1] / across)
    strip_rows = least(e, rows_out)
    strips = -(-rows_out // strip_rows)
    rows_in = strips * loops.rows_in(strip_rows)
    if loops.stride[0] == 1:
        rows_in = rows_in - (strips * strip_rows - rows_out)
    columns_in = (columns_out - 1) * loops.stride[1] + loops.kernel[1]
    return Cut(down * across, rows_out, columns_out, columns_in, strips, strip_rows, rows_in)


def least(a: N, b: float | N) -> N:
    """The smaller one; exact for whole numbers below 2^52, and element by element for arrays."""
    return (a + b - abs(a - b)) / 2


def most(a: N, b: N) -> N:
    """The larger one, likewise."""
    return (a + b + abs(a - b)) / 2


def compressed(zeros: float) -> float:
    """Size after run-length coding of zeros, relative; what would grow is stored as it is."""
    return min(1.0, (1 - zeros) * RLC_EXPANSION)


def accesses(
    loops: Loops, mapping: RowStationary[N], batch: int, zeros: Zeros = DENSE
) -> Accesses[N]:
    """Words moved at each level, and cycles, for a batch.

    Every pass reads and writes every sum in the buffer, the first one too; inputs leave it once
    for each pass over filters and are multicast from there.
    """
    pieces = cut(loops, mapping.e)
    images = batch * loops.images
    channels = least(mapping.q * mapping.r, loops.channels)  # of a pass
    filters = least(mapping.p * mapping.t, loops.filters)
    channel_passes = -(-loops.channels // channels)
    filter_passes = -(-loops.filters // filters)
    image_passes = -(-images // mapping.n)
    outputs = images * loops.groups * loops.filters * loops.out_hw[0] * loops.out_hw[1]
    rows = images * pieces.tiles * loops.groups * loops.channels * pieces.rows_in
    inputs = rows * pieces.columns_in
    chain = loops.kernel[0] * least(mapping.r, -(-loops.channels // mapping.q))
    group_passes = -(-loops.groups // mapping.u) * pieces.tiles * pieces.strips
    passes = group_passes * channel_passes * filter_passes * image_passes
    window = loops.kernel[0] * loops.kernel[1]
    weights = loops.groups * loops.filters * loops.channels * window
    return Accesses(
        macs=batch * loops.macs,
        nonzero_macs=batch * loops.macs * (1 - zeros.ifmap),
        array_psum=outputs * channel_passes * (chain - 1),
        buffer_ifmap=inputs * filter_passes,
        buffer_psum=2 * outputs * channel_passes,
        dram_ifmap=inputs
        * -(-loops.filters // mapping.m)
        * (compressed(zeros.ifmap) if zeros.coded else 1.0),
        dram_weight=weights * pieces.tiles * pieces.strips * image_passes,
        dram_psum=outputs * compressed(zeros.ofmap),
        cycles=passes * _pass_cycles(loops, mapping, pieces, channels, filters),
    )


def _pass_cycles(
    loops: Loops, mapping: RowStationary[N], pieces: Cut[N], channels: N, filters: N
) -> N:
    """Cycles of one pass: the slowest of computing, sums and inputs, then filters, then filling."""
    columns = pieces.columns_out
    computing = mapping.n * columns * loops.kernel[1] * mapping.q * mapping.p
    sums = mapping.n * mapping.u * (pieces.rows_out / pieces.strips) * columns * filters / BUS_WORDS
    rows = pieces.rows_in / pieces.strips
    inputs = mapping.n * mapping.u * channels * rows * pieces.columns_in
    words = mapping.u * filters * channels * loops.kernel[0] * loops.kernel[1]
    return most(most(computing, sums), inputs) + words / BUS_WORDS + PASS_CYCLES


def sets_of(kernel_rows: int, e: N) -> N:
    """Sets of ``kernel_rows`` x ``e`` processing elements that fit the array.

    Sets that are wider than the array are folded into parts that lie one below the other.
    """
    folds = -(-e // COLUMNS)
    width = -(-e // folds)
    return ROWS // (kernel_rows * folds) * (COLUMNS // width)


def most_filters(loops: Loops, mapping: RowStationary[N]) -> N:
    """Filters whose sums fit the global buffer beside the inputs of a pass: a bound on ``m``."""
    pieces = cut(loops, mapping.e)
    rows = loops.rows_in(pieces.strip_rows)
    inputs = mapping.q * mapping.r * rows * pieces.columns_in
    words = BUFFER_BYTES // (WORD_BYTES * mapping.u * mapping.n)
    return (words - inputs) // (pieces.strip_rows * pieces.columns_out)

"""Arrays of memristors that multiply where the weights are, after ISAAC.

Source: Shafiee et al., "ISAAC: a convolutional neural network accelerator with in-situ analog
arithmetic in crossbars", ISCA 2016, table I: 32 nm, 128 x 128 cells of 2 bits, inputs bit by bit in
cycles of 100 ns, one 8-bit converter for each array, 8 arrays and their registers in a unit, 12
units around an eDRAM buffer in a tile. Its authors modelled it; nobody made it.

All weights are resident: a network that needs more arrays than a chip has needs more chips, and
their links are not counted.
"""

from dataclasses import dataclass
from math import ceil

from netadapt.network import LayerShape
from netadapt.platforms.accelerators.layer_energy import (
    IFMAP,
    PSUM,
    WEIGHT,
    LayerEnergy,
    Part,
)
from netadapt.platforms.accelerators.loops import MatrixProduct, product_of

ARRAYS_PER_TILE = 96
ARRAYS_PER_UNIT = 8
TILES_PER_CHIP = 168

_SIDE = 128  # rows and columns of the arrays that table I describes
_CYCLE_S = 100e-9
_CONVERSIONS_PER_S = _SIDE / _CYCLE_S

# Watts of table I: of a unit for the first group, of a tile for the second.
_ADC_W, _DAC_W, _SAMPLE_W, _ARRAY_W = 16e-3, 4e-3, 10e-6, 2.4e-3
_SHIFT_ADD_W, _INPUT_REGISTER_W, _OUTPUT_REGISTER_W = 0.2e-3, 1.24e-3, 0.23e-3
_TILE_W = sum((20.7e-3, 7e-3, 10.5e-3, 0.52e-3, 0.05e-3, 0.4e-3, 1.68e-3))
"""eDRAM, bus, router, sigmoid, shift-and-add, max pooling and output register."""


def _event_pj(unit_w: float, events: int) -> float:
    """Picojoules of one event: an array has ``events`` of them in a cycle, a unit has 8 arrays."""
    return unit_w / ARRAYS_PER_UNIT * _CYCLE_S / events * 1e12


ADC_PJ = _event_pj(_ADC_W, _SIDE)
DAC_PJ = _event_pj(_DAC_W, _SIDE)
CELL_PJ = _event_pj(_ARRAY_W, _SIDE * _SIDE)
SHIFT_ADD_PJ = _event_pj(_SHIFT_ADD_W + _SAMPLE_W, _SIDE)
REGISTER_PJ = _event_pj(_INPUT_REGISTER_W + _OUTPUT_REGISTER_W, _SIDE)
TILE_PJ = _TILE_W / ARRAYS_PER_TILE * _CYCLE_S / _SIDE * 1e12

_ADC_BITS_PJ = {4: 0.79, 5: 0.99, 6: 1.20, 7: 1.42, 8: 1.67, 9: 1.97, 10: 2.38}
"""Accelergy's component library; only the ratios to 8 bits are used, on ISAAC's own converter."""

ADC_BITS = tuple(_ADC_BITS_PJ)
"""Resolutions that have a price."""


@dataclass(frozen=True, slots=True)
class Crossbar:
    """The hardware that a layer is laid out on.

    Attributes:
        rows, columns: of an array.
        cell_bits: bits that one cell stores; a weight takes several columns.
        adc_bits: of the converters, one of :data:`ADC_BITS`.
        weight_bits, input_bits: of a weight, and of an input that enters bit by bit.
        gated: whether rows and columns of an array that hold no weights rest; ISAAC itself drives
            and converts whole arrays.
    """

    rows: int = 128
    columns: int = 128
    cell_bits: int = 2
    adc_bits: int = 8
    weight_bits: int = 16
    input_bits: int = 16
    gated: bool = True

    def __str__(self) -> str:
        """Technology, precision and batch, as they stand beside every figure."""
        needed = self.lossless_adc_bits
        coarse = f" where exact sums need {needed}" if self.adc_bits < needed else ""
        return (
            f"modelled ISAAC crossbars, 32 nm, {self.rows}x{self.columns}, {self.weight_bits}-bit "
            f"weights in {self.cell_bits}-bit cells, {self.input_bits}-bit inputs, "
            f"{self.adc_bits}-bit ADC{coarse}, "
            f"idle columns {'resting' if self.gated else 'driven'}, batch 1"
        )

    @property
    def cells(self) -> int:
        """Columns that one weight takes."""
        return ceil(self.weight_bits / self.cell_bits)

    @property
    def filters(self) -> int:
        """Filters that one array holds side by side: widths in multiples of it fill arrays."""
        return self.columns // self.cells

    @property
    def adc_pj(self) -> float:
        """Picojoules of one conversion."""
        return ADC_PJ * _ADC_BITS_PJ[self.adc_bits] / _ADC_BITS_PJ[8]

    @property
    def lossless_adc_bits(self) -> int:
        """Bits that tell all sums of a column apart, inputs bit by bit (ISCA 2016, section V).

        One bit is saved by storing columns inverted whose weights are mostly ones.
        """
        return (self.rows - 1).bit_length() + self.cell_bits - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """A layer on arrays.

    Attributes:
        row_tiles: arrays one below the other, whose sums are added digitally.
        column_tiles: arrays side by side, which all get the same inputs.
        arrays: arrays in all, groups included.
        utilisation: share of their cells that holds weights.
    """

    row_tiles: int
    column_tiles: int
    arrays: int
    utilisation: float


def layout(product: MatrixProduct, hardware: Crossbar) -> Layout:
    """Arrays that a matrix product takes: each group has its own, however little it fills."""
    cells = product.columns * hardware.cells
    row_tiles = ceil(product.rows / hardware.rows)
    column_tiles = ceil(cells / hardware.columns)
    used = product.rows * cells
    room = row_tiles * column_tiles * hardware.rows * hardware.columns
    return Layout(
        row_tiles, column_tiles, product.groups * row_tiles * column_tiles, used / room
    )  # fmt: skip


def layer_energy(shape: LayerShape, hardware: Crossbar = Crossbar()) -> LayerEnergy:
    """Energy and time of a convolution or linear layer for one image.

    No layer is replicated: its pixels pass through one copy of its weights, one after the other.

    Raises:
        UnmappableLayer: it is no matrix product.
    """
    product = product_of(shape)
    laid = layout(product, hardware)
    reads = product.pixels * hardware.input_bits
    if hardware.gated:
        rows = product.groups * product.rows * laid.column_tiles
        columns = product.groups * product.columns * hardware.cells * laid.row_tiles
        cells = product.groups * product.rows * product.columns * hardware.cells
    else:
        rows, columns = laid.arrays * hardware.rows, laid.arrays * hardware.columns
        cells = laid.arrays * hardware.rows * hardware.columns
    counts = (
        ("adc", PSUM, columns * hardware.adc_pj),
        ("dac", IFMAP, rows * DAC_PJ),
        ("cell", WEIGHT, cells * CELL_PJ),
        ("shift-add", PSUM, columns * SHIFT_ADD_PJ),
        ("register", IFMAP, rows * REGISTER_PJ),
        ("buffer", IFMAP, rows * TILE_PJ),
    )
    cycle_s = max(_CYCLE_S, hardware.columns / _CONVERSIONS_PER_S)
    return LayerEnergy(
        tuple(Part(level, data, reads * pj * 1e-12) for level, data, pj in counts), reads * cycle_s
    )

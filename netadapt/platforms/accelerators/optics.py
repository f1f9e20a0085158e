"""Products of light: three closed forms from published components; no system of this size exists.

The formulas are ours, at the level of components; almost all energy goes to converters and buffers,
and light itself stays below 1 %. Before quoting a ratio to digital hardware, read the counter-view
in docs/energy.md: with equal data transfer, optics saves nothing (Optics Express 29, 13153, 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Literal

from netadapt.network import LayerShape
from netadapt.platforms.accelerators.layer_energy import (
    IFMAP,
    OTHER,
    PSUM,
    WEIGHT,
    LayerEnergy,
    Part,
)
from netadapt.platforms.accelerators.loops import MatrixProduct, product_of

Kind = Literal["homodyne", "mesh", "link"]

PHOTON_PJ = 1.28e-7  # h c / lambda at 1550 nm
_PHOTONS, _EFFICIENCY, _LOSS = 3.2, 0.2, 0.1  # for each product; wall plug; 10 dB on the way


@dataclass(frozen=True, slots=True)
class Components:
    """Picojoules of what stands between electronics and light, for one symbol of 8 bits.

    Attributes:
        name: what selects it.
        dac_pj, modulator_pj: to bring a symbol onto light.
        detector_pj, amplifier_pj, adc_pj: to read one.
        buffer_pj: a byte in or out of the memory beside it.
        symbols_per_s: rate of one modulator.
        shift_w: what a thermo-optic phase shifter burns to hold a shift of pi, in watts.
    """

    name: str
    dac_pj: float
    modulator_pj: float
    detector_pj: float
    amplifier_pj: float
    adc_pj: float
    buffer_pj: float
    symbols_per_s: float
    shift_w: float

    @property
    def send_pj(self) -> float:
        """Picojoules to bring a symbol onto light."""
        return self.dac_pj + self.modulator_pj

    @property
    def receive_pj(self) -> float:
        """Picojoules to read one."""
        return self.adc_pj + self.amplifier_pj + self.detector_pj


PUBLISHED = Components("published", 3.57, 0.45, 0.11, 0.30, 1.48, 0.64, 10e9, 30e-3)
"""Published converters and modulators, as SimPhony and Lightening-Transformer configure them.

The buffer is ISAAC's eDRAM: 20.45 pJ for 32 bytes.
"""

AGGRESSIVE = Components("aggressive", 0.325, 0.05, 0.11, 0.0375, 1.48, 0.64, 5e9, 0.155e-3)
"""The aggressive point of Albireo, as CiMLoop carries it; no ADC is given there: that of above."""

COMPONENTS: Mapping[str, Components] = MappingProxyType(
    {c.name: c for c in (PUBLISHED, AGGRESSIVE)}
)
"""Sets of components by name."""


@dataclass(frozen=True, slots=True)
class Optics:
    """The hardware that a layer runs on.

    Attributes:
        kind: ``homodyne``: both operands on light, products summed in charge (Hamerly et al., PRX
            2019); ``mesh``: weights held by interferometers without power (after Shen et al.,
            Nature Photonics 2017, with non-volatile shifters); ``link``: digital products, operands
            delivered by light (Bernstein et al., Scientific Reports 2021).
        size: detectors along a side of the homodyne array, or inputs of the mesh.
        batch: images computed together, which share weights on their way.
        components: converters, modulators and detectors.
        thermal: whether the mesh's shifters burn power to hold their weights.
    """

    kind: Kind = "homodyne"
    size: int = 128
    batch: int = 1
    components: Components = PUBLISHED
    thermal: bool = False

    def __str__(self) -> str:
        """Technology, precision and batch, as they stand beside every figure."""
        components = f"{self.components.name} components"
        names = {
            "homodyne": f"optical homodyne array {self.size}x{self.size}, {components}",
            "mesh": f"{'thermo-optic' if self.thermal else 'non-volatile'} mesh of "
            f"interferometers {self.size}x{self.size}, {components}",
            "link": "digital array in 7 nm with optical links",
        }
        return f"modelled {names[self.kind]}, 8 bits, batch {self.batch}"


def layer_energy(shape: LayerShape, hardware: Optics = Optics()) -> LayerEnergy:
    """Energy and time of a convolution or linear layer for one image of a batch.

    Raises:
        UnmappableLayer: it is no matrix product.
    """
    single = product_of(shape)
    product = MatrixProduct(
        single.groups, single.rows, single.columns, single.pixels * hardware.batch
    )
    picojoules, seconds = _MODELS[hardware.kind](product, hardware)
    scale = 1e-12 / hardware.batch
    return LayerEnergy(
        tuple(Part(level, data, pj * scale) for level, data, pj in picojoules if pj),
        None if seconds is None else seconds / hardware.batch,
    )


_Energies = tuple[tuple[str, str, float], ...]


def _homodyne(product: MatrixProduct, hardware: Optics) -> tuple[_Energies, float]:
    """Each symbol is sent once for a row or column of detectors; each output is read once."""
    parts = hardware.components
    rows = ceil(product.columns / hardware.size)
    columns = ceil(product.pixels / hardware.size)
    inputs = product.groups * product.rows * product.pixels * rows
    weights = product.groups * product.rows * product.columns * columns
    outputs = product.groups * product.columns * product.pixels
    light_pj = product.macs * _PHOTONS * PHOTON_PJ / (_EFFICIENCY * _LOSS)
    steps = product.groups * rows * columns * product.rows
    return (
        ("send", IFMAP, inputs * parts.send_pj),
        ("send", WEIGHT, weights * parts.send_pj),
        ("receive", PSUM, outputs * parts.receive_pj),
        ("light", OTHER, light_pj),
        ("buffer", IFMAP, inputs * parts.buffer_pj),
        ("buffer", WEIGHT, weights * parts.buffer_pj),
        ("buffer", PSUM, outputs * parts.buffer_pj),
    ), steps / parts.symbols_per_s


_PROGRAMMING_S = 10e-6  # of a mesh, for each matrix; its energy has no published figure


def _mesh(product: MatrixProduct, hardware: Optics) -> tuple[_Energies, float]:
    """One mesh, programmed for each tile of the weights in turn; sums of tiles added digitally.

    A mesh of size k has k * k interferometers of two shifters, each at pi/2 on average.
    """
    parts = hardware.components
    row_tiles = ceil(product.rows / hardware.size)
    column_tiles = ceil(product.columns / hardware.size)
    inputs = product.groups * product.pixels * product.rows * column_tiles
    sums = product.groups * product.pixels * product.columns * row_tiles
    tiles = product.groups * row_tiles * column_tiles
    seconds = tiles * (product.pixels / parts.symbols_per_s + _PROGRAMMING_S)
    holding_w = hardware.size**2 * parts.shift_w if hardware.thermal else 0.0
    return (
        ("send", IFMAP, inputs * parts.send_pj),
        ("receive", PSUM, sums * parts.receive_pj),
        ("hold", WEIGHT, holding_w * seconds * 1e12),
        ("buffer", IFMAP, inputs * parts.buffer_pj),
        ("buffer", PSUM, 2 * sums * parts.buffer_pj),
    ), seconds


MAC_PJ = 0.025  # an 8-bit multiply-accumulate in 7 nm
BITS_PER_MAC = 16
_SUPPLY_V, _DETECTOR_FF, _INVERTER_FF, _WIRE_FF_PER_UM = 0.8, 0.1, 0.1, 0.2  # assumed


def link_pj(capacitance_ff: float) -> float:
    """Picojoules of one bit onto a capacitance; a quarter of bits rise (half of them toggle)."""
    return 0.25 * capacitance_ff * _SUPPLY_V**2 * 1e-3


def wire_pj(length_um: float) -> float:
    """Picojoules of one bit over a wire of that length, which the optical link competes with."""
    return link_pj(_WIRE_FF_PER_UM * length_um)


def _link(product: MatrixProduct, hardware: Optics) -> tuple[_Energies, None]:
    """Digital products; each operand arrives by light, at the same cost from any distance."""
    bit_pj = link_pj(_DETECTOR_FF + _INVERTER_FF)
    each_pj = product.macs * BITS_PER_MAC / 2 * bit_pj
    return (
        ("mac", OTHER, product.macs * MAC_PJ),
        ("link", IFMAP, each_pj),
        ("link", WEIGHT, each_pj),
    ), None


_MODELS = {"homodyne": _homodyne, "mesh": _mesh, "link": _link}

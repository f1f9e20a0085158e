"""A network's energy by layer, level and kind of data, on hardware that is modelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from netadapt.network import LayerShape
from netadapt.platforms.accelerators import crossbar, eyeriss, optics
from netadapt.platforms.accelerators.crossbar import Crossbar
from netadapt.platforms.accelerators.eyeriss import Eyeriss
from netadapt.platforms.accelerators.layer_energy import LayerEnergy, total
from netadapt.platforms.accelerators.loops import has_product, require_products
from netadapt.platforms.accelerators.optics import Optics
from netadapt.platforms.accelerators.row_stationary import Zeros
from netadapt.platforms.accelerators.sparsity import zeros_by_layer

Hardware = Eyeriss | Crossbar | Optics
"""What a layer can be priced on."""


@lru_cache(maxsize=1 << 17)
def layer_energy(shape: LayerShape, hardware: Hardware, zeros: Zeros | None = None) -> LayerEnergy:
    """Energy and time of one convolution or linear layer, for one image; remembered.

    Args:
        shape: the layer.
        hardware: what it runs on.
        zeros: in and out of this layer, for hardware that gains by them; its own if None.

    Raises:
        UnmappableLayer: the hardware cannot compute it.
    """
    match hardware:
        case Eyeriss():
            return eyeriss.layer_energy(shape, hardware, zeros)
        case Crossbar():
            return crossbar.layer_energy(shape, hardware)
        case Optics():
            return optics.layer_energy(shape, hardware)


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """A network on modelled hardware, for one image of a batch.

    Attributes:
        model: name of the network.
        hardware: technology, precision and batch, as they stand beside every figure.
        batch: images that are computed together.
        names: of the layers that are priced.
        layers: what each of them costs.
        residue: names of the layers that the model leaves out: those that multiply nothing.
        zeros: share of zeros in the input of each layer, where it was told layer by layer.
    """

    model: str
    hardware: str
    batch: int
    names: tuple[str, ...]
    layers: tuple[LayerEnergy, ...]
    residue: tuple[str, ...]
    zeros: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> LayerEnergy:
        """All layers together."""
        return total(self.layers)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; joules and seconds for one image."""
        whole = self.total
        return {
            "modelled": True,
            "hardware": self.hardware,
            "batch": self.batch,
            "energy_j": whole.energy_j,
            "energy_without_dram_j": whole.without("dram"),
            "latency_s": whole.latency_s,
            "parts": _parts(whole),
            "layers": [
                {"name": name, "energy_j": layer.energy_j, "latency_s": layer.latency_s,
                 "parts": _parts(layer)}
                for name, layer in zip(self.names, self.layers, strict=True)
            ],
            "not_modelled": list(self.residue),
            "zeros": dict(self.zeros),
        }  # fmt: skip


def _parts(layer: LayerEnergy) -> list[dict[str, Any]]:
    return [
        {"level": part.level, "data": part.data, "energy_j": part.energy_j} for part in layer.parts
    ]


def energy_report(
    model: str,
    layers: Sequence[tuple[str, LayerShape]],
    hardware: Hardware,
    ifmap_zeros: Mapping[str, float] | None = None,
) -> EnergyReport:
    """Price a network layer by layer.

    Args:
        model: its name.
        layers: name and shape of each layer, in the order in which they run.
        hardware: what it runs on.
        ifmap_zeros: share of zeros in the input of each layer, by its name, for hardware that
            gains by them; that of ``hardware`` for layers that are not named.

    Raises:
        UnmappableLayer: the hardware cannot compute one of the layers that multiply, or there are
            none.
    """
    require_products(model, (shape for _, shape in layers))
    priced = [(name, shape) for name, shape in layers if has_product(shape)]
    names = tuple(name for name, _ in priced)
    zeros: dict[str, Zeros] = {}
    if ifmap_zeros and isinstance(hardware, Eyeriss):
        zeros = dict(zip(names, zeros_by_layer(ifmap_zeros, names, hardware.zeros), strict=True))
    energies = tuple(layer_energy(shape, hardware, zeros.get(name)) for name, shape in priced)
    residue = tuple(name for name, shape in layers if not has_product(shape))
    batch = 1 if isinstance(hardware, Crossbar) else hardware.batch
    return EnergyReport(
        model, str(hardware), batch, names, energies, residue,
        {name: share.ifmap for name, share in zeros.items()},
    )  # fmt: skip

"""Modelled hardware as devices that a search can ask: ``eyeriss:``, ``crossbar:``, ``optical:``.

Costs are for one image of a batch, and of convolutions and linear layers alone: pooling, sums and
other layers that multiply nothing run elsewhere and are in no figure, as the device's name says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netadapt.errors import DeviceError, UsageError
from netadapt.network import Cost, LayerShape, Network
from netadapt.platforms import Effort, Progress, Readings, Workload
from netadapt.platforms.accelerators.crossbar import Crossbar
from netadapt.platforms.accelerators.filling import filling_sizes
from netadapt.platforms.accelerators.loops import has_product, require_products
from netadapt.platforms.accelerators.noise import AnalogHardware
from netadapt.platforms.accelerators.optics import Optics
from netadapt.platforms.accelerators.report import Hardware, layer_energy
from netadapt.platforms.accelerators.row_stationary import Zeros
from netadapt.platforms.accelerators.sparsity import MEASURED, Sparsity
from netadapt.platforms.measurement import DeviceInfo, Measurement

_UNITS = {"energy": "J", "latency": "s"}


@dataclass(frozen=True, slots=True)
class ModelledCost:
    """Prices layers by a closed form.

    Attributes:
        hardware: what they run on.
        resource: ``energy`` or ``latency``.
        left_out: levels whose energy is not counted.
        zeros: in and out of a layer, by its name; as ``hardware`` has them for other layers.
    """

    hardware: Hardware
    resource: str
    left_out: tuple[str, ...] = ()
    zeros: Mapping[str, Zeros] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """``J`` or ``s``."""
        return _UNITS[self.resource]

    def layer(self, shape: LayerShape) -> float:
        """Joules or seconds for one image; 0 for layers that multiply nothing, which run elsewhere.

        Raises:
            UnmappableLayer: the hardware cannot compute it.
        """
        if not has_product(shape):
            return 0.0
        energy = layer_energy(shape, self.hardware, self.zeros.get(shape.name))
        if self.resource == "energy":
            return energy.without(*self.left_out)
        assert energy.latency_s is not None  # only what has a clock offers latency
        return energy.latency_s

    def network(self, layers: float, weights: int) -> float:
        """The sum: layers run one after the other."""
        return layers


@dataclass(frozen=True, slots=True)
class ModelledPlatform:
    """Hardware on paper, which answers by formulas.

    Attributes:
        uri: what opens it again.
        hardware: what it is.
        precision: bits of weights and activations, in words.
        multiple: widths that it prefers are multiples of it.
        left_out: levels whose energy is not counted.
        analog: how weights compute there, where not exactly.
        chips: how many chips a network is scored on, where they differ.
        sparsity: what tells the zeros of each layer, where they are not the hardware's.
    """

    uri: str
    hardware: Hardware
    precision: str
    multiple: int = 1
    left_out: tuple[str, ...] = ()
    analog: AnalogHardware | None = None
    chips: int = 1
    sparsity: Sparsity | None = None

    @property
    def batch(self) -> int:
        """Images that are computed together."""
        return 1 if isinstance(self.hardware, Crossbar) else self.hardware.batch

    @property
    def resources(self) -> tuple[str, ...]:
        """What it prices; hardware without a clock has no latency."""
        timed = not (isinstance(self.hardware, Optics) and self.hardware.kind == "link")
        return ("latency", "energy") if timed else ("energy",)

    @property
    def name(self) -> str:
        """What stands beside every figure: modelled, with technology, precision and batch."""
        without = f", without {' and '.join(self.left_out)}" if self.left_out else ""
        analog = (
            f", {self.analog.noise.name} cells after {self.analog.seconds:g} s, {self.chips} chips"
            if self.analog else ""
        )  # fmt: skip
        zeros = f", {self.sparsity}" if self.sparsity else ""
        return f"{self.hardware}{zeros}{without}{analog}"

    def describe(self) -> DeviceInfo:
        """Its name, and which layers are in its figures."""
        device = f"{self.name}; convolutions and linear layers alone"
        return DeviceInfo(
            self.uri, device, "none", "netadapt", block=self.multiple, precision=self.precision,
            batch=self.batch,
        )  # fmt: skip

    def cost(self, resource: str) -> Cost | None:
        """What prices networks in a resource, for one image; None for other resources.

        Raises:
            UsageError: the zeros of each layer are asked for, and no network's were told yet.
        """
        if resource not in self.resources:
            return None
        if self.sparsity is None:
            return ModelledCost(self.hardware, resource, self.left_out)
        if self.sparsity.layers is None:
            raise UsageError(
                f"{self.uri} takes the zeros of each layer of one network, which are not known "
                "here; 'netadapt inspect' and 'netadapt adapt' know them, and zeros may be one "
                "share for all layers, like zeros=0.5."
            )
        return ModelledCost(self.hardware, resource, self.left_out, self.sparsity.layers)

    @property
    def needs_zeros(self) -> bool:
        """Whether zeros are yet to be measured in a network."""
        sparsity = self.sparsity
        return sparsity is not None and sparsity.source == MEASURED and sparsity.shares is None

    def with_zeros(self, names: Sequence[str], shares: Mapping[str, float]) -> "ModelledPlatform":
        """The same hardware, told the zeros of a network.

        Args:
            names: its layers that multiply, in order.
            shares: of zeros in the input of each, by its name; dense where it is not among them.

        Raises:
            UnknownName: one is of no layer among ``names``.
        """
        assert self.sparsity is not None
        return replace(self, sparsity=self.sparsity.of(names, shares))

    def filling_sizes(self, network: Network, group: str) -> tuple[int, ...] | None:
        """Sizes of a channel group that fill arrays, ascending; None where any size is as good."""
        if isinstance(self.hardware, Crossbar):
            return filling_sizes(network, group, self.hardware)
        return None

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Readings]:
        """The sums over the networks' layers: computed once, for they never vary.

        Raises:
            DeviceError: the layers of a network are not known.
            UnmappableLayer: the hardware cannot compute one of them, or none multiplies.
        """
        readings: list[Readings] = []
        for done, model in enumerate(models, start=1):
            if not model.layers:
                raise DeviceError(
                    f"{self.uri} computes what a network costs from its layers, and those of "
                    f"{model.name} are not known; give a model by name instead of a file."
                )
            require_products(model.name, model.layers)
            costs = {name: self.cost(name) for name in self.resources}
            readings.append({
                name: Measurement((sum(map(cost.layer, model.layers)),), "model", unit=cost.unit)
                for name, cost in costs.items() if cost is not None
            })  # fmt: skip
            if progress is not None:
                progress(done, len(models))
        return readings

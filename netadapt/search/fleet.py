"""The devices of a run: what prices networks for each of them, and what networks measure there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from netadapt.errors import UsageError
from netadapt.network import MACS, WEIGHTS, Cost, LayerShape, Network, Sizes
from netadapt.platforms import (
    Effort,
    LayerTimer,
    Modelled,
    Platform,
    Readings,
    Workload,
    remedy,
)
from netadapt.platforms.measurement import DeviceInfo, Measurement, Ratio
from netadapt.runs import Run, Stopwatch
from netadapt.runs.events import Measured, TableMeasured
from netadapt.runs.progress import counted
from netadapt.search.budgets import Meter
from netadapt.tables.build import complete_table, open_table
from netadapt.tables.energy import EnergyCost, complete_energies, energy_sizes, unmeasured
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest

FIRST = Effort(passes=6, min_seconds=0.2)
"""How the unpruned network is measured: its 10th percentile is steady after many runs only."""

WHOLE = replace(FIRST, precision=0.01, time_limit_s=10.0)
"""How long others are measured beside it: until the ratio is known to one percent."""

DECIDING = replace(FIRST, precision=0.005, spread_s=7.5, invocations=5, time_limit_s=20.0)
"""The same where a search may end by it: in several processes, between which it differs too."""

BYTES_PER_WEIGHT = {"float32": 4, "int8": 1}

Deploy = Callable[[DeviceInfo], bytes]
"""Writes one network as a device runs it, as serialized ONNX."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a run.

    Attributes:
        name: as budgets call it.
        platform: what answers.
        info: what it is; asked once.
    """

    name: str
    platform: Platform
    info: DeviceInfo

    def __str__(self) -> str:
        info = self.info
        settings = (
            f", {info.threads} thread(s), {info.precision}, {info.runtime}"
            if info.machine != "none" else ""
        )  # fmt: skip
        return f"{info.device} ({info.platform}{settings})"


def scored_as(devices: Sequence[Device]) -> DeviceInfo:
    """What networks are scored as computing on: the first device that rounds, else the first.

    A network is as accurate as the least exact device that it has to run on.
    """
    return next((d for d in devices if d.info.precision != "float32"), devices[0]).info


@dataclass(frozen=True, slots=True)
class Deployment:
    """A network as it goes to the devices.

    Attributes:
        deploy: writes it for a device.
        size_bytes: size of the file that a user gets for a device.
        sizes: of its groups.
        macs, params: counted.
    """

    deploy: Deploy
    size_bytes: Callable[[DeviceInfo], int]
    sizes: Sizes
    macs: int
    params: int


@dataclass
class Fleet:
    """The devices of a run, with what prices networks on each.

    Attributes:
        devices: in the order given; the first decides where something is to be decided for all.
        meters: what is measured.
        network: the unpruned network.
        multiple: widths become multiples of so many channels.
        run: the run folder; tables are kept there.
        table: a lookup table to start from, for the first device.
        watch: times the measuring.
    """

    devices: tuple[Device, ...]
    meters: tuple[Meter, ...]
    network: Network
    multiple: int
    run: Run
    table: Path | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    _tables: dict[str, LookupTable] = field(default_factory=dict, init=False, repr=False)

    def costs(self, sizes: Sizes, at: Callable[[Sizes], Deployment]) -> dict[str, Cost]:
        """What prices, by key, the network at ``sizes`` and smaller ones; measures what it lacks.

        Args:
            sizes: present sizes of its groups.
            at: the network at any sizes, for the energy of some.

        Raises:
            DeviceError: a device cannot be reached, or cannot measure.
        """
        return {meter.key: self._cost(meter, sizes, at) for meter in self.meters}

    def _cost(self, meter: Meter, sizes: Sizes, at: Callable[[Sizes], Deployment]) -> Cost:
        known = self.formula(meter)
        if known is not None:
            return known
        device = self._device(meter)
        if meter.resource == "energy":
            return EnergyCost.of(self._energies(device, sizes, at))
        return self._completed(device, sizes)

    def formula(self, meter: Meter) -> Cost | None:
        """What prices a resource without measuring; None where only a table can."""
        if meter.resource == "macs":
            return MACS
        if meter.resource == "params":
            return WEIGHTS
        device = self._device(meter)
        if meter.resource == "size":
            return Stored(BYTES_PER_WEIGHT.get(device.info.precision, 4))
        return modelled(device.platform, meter.resource)

    def _device(self, meter: Meter) -> Device:
        return next(device for device in self.devices if device.name == meter.device)

    def _energies(
        self, device: Device, sizes: Sizes, at: Callable[[Sizes], Deployment]
    ) -> LookupTable:
        """The device's table, with the energy of whole networks too."""
        chosen = energy_sizes(self.network, self.multiple)
        table = self._completed(device, sizes, tuple(chosen.values()))
        works = {name: self._workload(name, at(s), device) for name, s in chosen.items()}
        lacking = len(unmeasured(table, works))
        if not lacking:
            return table
        with self.watch.lap() as lap:
            table = complete_energies(
                table, device.platform, works, path=self._table_path(device),
                progress=counted(self.run.notify, "energy of networks"),
            )  # fmt: skip
        self._tables[device.name] = table
        self.run.append(
            TableMeasured(
                str(device), lacking, lap.seconds, table.warnings, lap.energy_j, lap.sensor,
                what="networks",
            )
        )  # fmt: skip
        return table

    def _workload(self, name: str, work: Deployment, device: Device) -> Workload:
        return Workload(name, partial(work.deploy, device.info), self.network.at(work.sizes))

    def _completed(
        self, device: Device, sizes: Sizes, others: tuple[Sizes, ...] = ()
    ) -> LookupTable:
        """The device's table, with every layer measured that the next proposals may need."""
        path = self._table_path(device)
        table = self._tables.get(device.name) or open_table(
            self.table if device is self.devices[0] else None, path, device.info
        )
        assert isinstance(device.platform, LayerTimer)  # checked when the run began
        known = len(table.entries)
        with self.watch.lap() as lap:
            table = complete_table(
                table,
                device.platform,
                TableRequest(self.network, sizes, self.multiple, others=others),
                path=path,
                progress=counted(self.run.notify, "lookup table"),
            )
        self._tables[device.name] = table
        if rows := len(table.entries) - known:
            self.run.append(
                TableMeasured(
                    device.name, rows, lap.seconds, table.warnings, lap.energy_j, lap.sensor
                )
            )
        return table

    def _table_path(self, device: Device) -> Path:
        first = device is self.devices[0]
        return self.run.folder / ("table.csv" if first else f"table-{_as_file(device.name)}.csv")

    def original(self, deployment: Deployment) -> dict[str, Measurement]:
        """What the unpruned network costs, by key."""
        readings = {
            device.name: self._readings(device, {"the unpruned network": deployment}, FIRST)[0]
            for device in self.devices
        }
        return self._by_key(readings, deployment)

    def beside(
        self,
        original: Deployment,
        candidate: Deployment,
        *,
        iteration: int,
        first: Mapping[str, float],
        effort: Effort = WHOLE,
    ) -> dict[str, Measurement]:
        """What a network costs, by key; measured with its runs between those of the unpruned one.

        Machines have slow and fast minutes. The result is what the unpruned network took at first,
        times the ratio of the two now.

        Args:
            original: the unpruned network.
            candidate: the network.
            iteration: of the network, for the journal.
            first: what the unpruned network cost at first, by key.
            effort: how long to measure.
        """
        corrected: dict[str, Readings] = {}
        for device in self.devices:
            works = {"the unpruned network": original, "the candidate": candidate}
            with self.watch.lap() as lap:
                now, measured = self._readings(device, works, effort)
            keys = {m.resource: m.key for m in self.meters if m.device == device.name}
            corrected[device.name] = {
                resource: _as_ratio(measured[resource], now[resource], first[key])
                for resource, key in keys.items()
                if resource in now
            }
            if corrected[device.name]:
                warnings = tuple(dict.fromkeys(w for m in measured.values() for w in m.warnings))
                self.run.append(
                    Measured(
                        iteration,
                        device.name,
                        {
                            r: {
                                **m.summary(),
                                "ratio": (ratio := Ratio.of(m, now[r])).value,
                                "uncertainty": ratio.uncertainty,
                            }
                            for r, m in measured.items()
                        },
                        {r: m.summary() for r, m in now.items()},
                        lap.phase("measuring"),
                        warnings,
                    )
                )
                for warning in warnings:
                    self.run.warn(warning)
        return self._by_key(corrected, candidate)

    def _readings(
        self, device: Device, works: Mapping[str, Deployment], effort: Effort
    ) -> list[Readings]:
        """What these networks cost on one device, their runs interleaved."""
        wanted = {m.resource for m in self.meters if m.device == device.name}
        if not wanted & set(device.platform.resources):
            return [{} for _ in works]
        workloads = [self._workload(name, work, device) for name, work in works.items()]
        return device.platform.measure_networks(workloads, effort)

    def _by_key(
        self, readings: Mapping[str, Readings], deployment: Deployment
    ) -> dict[str, Measurement]:
        """Measured and counted resources, by the key of their meter."""
        found = {}
        for meter in self.meters:
            if meter.resource == "macs":
                found[meter.key] = _counted(deployment.macs, "MACs")
            elif meter.resource == "params":
                found[meter.key] = _counted(deployment.params, "parameters")
            elif meter.resource == "size":
                size_bytes = deployment.size_bytes(self._device(meter).info)
                found[meter.key] = _counted(size_bytes, "B")
            else:
                found[meter.key] = readings[meter.device][meter.resource]
        return found


@dataclass(frozen=True, slots=True)
class Stored:
    """The size of a network's file, by its weights alone; what else it holds is rescaled in.

    Attributes:
        bytes_per_weight: 4 in float32, 1 in 8 bits.
        unit: bytes.
    """

    bytes_per_weight: int
    unit: str = "B"

    def layer(self, shape: LayerShape) -> float:
        """Bytes of its weights."""
        return float(shape.weights * self.bytes_per_weight)

    def network(self, layers: float, weights: int) -> float:
        """The sum over layers."""
        return layers


def modelled(platform: Platform, resource: str) -> Cost | None:
    """The closed form of a resource, where the platform has one."""
    return platform.cost(resource) if isinstance(platform, Modelled) else None


def check_sources(
    meters: Iterable[Meter], devices: Sequence[Device], layers: Sequence[LayerShape]
) -> None:
    """Refuse a budget of a resource that a device has no source of, for layers such as these.

    Raises:
        UsageError: it neither measures nor models the resource, or nothing prices it.
        UnmappableLayer: it models the resource, and cannot compute one of the layers.
    """
    for meter in meters:
        for device in devices:
            if meter.device == device.name:
                _check_source(meter, device)
                if cost := modelled(device.platform, meter.resource):
                    for shape in layers:
                        cost.layer(shape)


def _check_source(meter: Meter, device: Device) -> None:
    if meter.resource == "size":
        return
    platform = device.platform
    if meter.resource not in platform.resources:
        raise UsageError(
            f"{platform.uri} measures {', '.join(platform.resources)}, and the budget is of "
            f"{meter.resource}; {remedy(meter.resource)}."
        )
    timed = meter.resource in ("latency", "energy") and isinstance(platform, LayerTimer)
    if not timed and modelled(platform, meter.resource) is None:
        raise UsageError(
            f"Nothing prices the {meter.resource} of layers on {platform.uri}, so that no search "
            "can be steered by it; give a budget of another resource."
        )


def _as_ratio(measured: Measurement, unpruned: Measurement, first: float) -> Measurement:
    """What was measured, so that its headline is the first reading times the ratio now."""
    ratio = Ratio.of(measured, unpruned)
    scaled = measured.scaled(first * ratio.value / measured.value)
    return replace(scaled, uncertainty=ratio.uncertainty)


def _counted(value: float, unit: str) -> Measurement:
    return Measurement((float(value),), "count", (), unit)


def _as_file(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def infos(devices: Iterable[Device]) -> dict[str, dict[str, object]]:
    """What each device is, as plain JSON values, by name."""
    return {device.name: device.info.to_json() for device in devices}

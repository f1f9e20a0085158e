"""Lookup tables of models: ``netadapt table build``, ``verify``, ``bundle``.

What a table is, is in :mod:`netadapt.tables`; this makes tables of models by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from netadapt.assembly import Source, assemble
from netadapt.errors import UsageError
from netadapt.files import check_output, sole_writer
from netadapt.measure import Subject, Variants
from netadapt.network import MACS, LayerShape, Sizes, cost_of, op_of
from netadapt.platforms import LayerTimer, Platform, Progress, Workload, open_layer_timer, remedy
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import alone
from netadapt.tables.accuracy import (
    Accuracy,
    Observations,
    Sample,
    Tolerance,
    assess,
    observe,
    report,
)
from netadapt.tables.build import LAYERS, complete_table, open_table
from netadapt.tables.bundle import write_bundle
from netadapt.tables.correction import SPREAD, Calibration, calibration_sizes
from netadapt.tables.energy import (
    NETWORKS,
    EnergyCost,
    complete_energies,
    describe_energy,
    energy_sizes,
    fingerprint,
)
from netadapt.tables.lookup import TABLE_BEGINS, LookupTable
from netadapt.tables.plan import TableRequest
from netadapt.units import RESOURCES

Counter = Callable[[str], Progress]
"""Given what is being done, what is to be told how far that is."""


def uncounted(what: str) -> Progress:
    """For nobody who listens."""
    return lambda done, total: None


@dataclass(frozen=True, slots=True)
class Building:
    """How a table is built.

    Attributes:
        multiple: widths are multiples of it; 0 takes what suits the device.
        dense: measure each layer shape; no interpolation.
        time_limit_s: for the layers; what lowers the error most is measured first, and the same
            call goes on with the rest.
        resource: ``latency``; or ``energy``, which measures whole networks on top of that.
        networks: how many, for energy.
    """

    multiple: int = 0
    dense: bool = False
    time_limit_s: float | None = None
    resource: str = "latency"
    networks: int = NETWORKS


def build_table(
    source: Source,
    out: Path,
    *,
    platform_uri: str,
    how: Building = Building(),
    counter: Counter = uncounted,
) -> dict[str, Any]:
    """Measure every layer that adapting a model may ask for first, and calibrate on the network.

    Args:
        source: the model.
        out: the table; what it holds already is not measured again.
        platform_uri: the device.
        how: widths, and how long.
        counter: told of the layers and networks as they are measured.

    Returns:
        ``calibration`` is empty, and ``lacking`` above zero, if time ran out before the networks
        that calibrate had a price.

    Raises:
        RunError: another process writes to the table, or there is no writing it.
        NetAdaptError: see :mod:`netadapt.errors`.
    """
    check_output(out, begins=TABLE_BEGINS)
    with sole_writer(out):
        return _built(source, out, platform_uri, how, counter)


def _built(
    source: Source, out: Path, platform_uri: str, how: Building, counter: Counter
) -> dict[str, Any]:
    platform = open_layer_timer(platform_uri)
    check_measures(platform, how.resource)
    info = platform.describe()  # a sensor that is not there is told before anything is measured
    subject = Subject(assemble(source))
    network, multiple = subject.network, how.multiple or info.multiple
    table = open_table(None, out, info)
    known, known_networks = len(table.entries), len(table.energies)
    calibrating = calibration_sizes(network, multiple)
    energies = energy_sizes(network, multiple, how.networks) if how.resource == "energy" else {}
    table = complete_table(
        table,
        platform,
        TableRequest(network, {}, multiple, how.dense, (*calibrating.values(), *energies.values())),
        path=out,
        progress=counter("lookup table"),
        time_limit_s=how.time_limit_s,
    )
    lacking = table.lacking([s for sizes in calibrating.values() for s in network.at(sizes)])
    calibration: list[dict[str, Any]] = []
    remarks: list[str] = []
    if not lacking:
        variants = subject.variants(info)
        if not (energies and table.calibration.networks):
            table, calibration = _calibrated(table, platform, variants, calibrating, counter)
            table.save(out)
        if energies:
            works = {name: variants.workload(sizes) for name, sizes in energies.items()}
            table = complete_energies(table, platform, works, path=out, progress=counter("energy"))
            calibration = _fitted(table, works)
        remarks = variants.remarks
    return {
        "schema": 2,
        "device": info.to_json(),
        "resource": how.resource,
        "unit": RESOURCES[how.resource].unit,
        "energy": describe_energy(table),
        "energies_measured": len(table.energies) - known_networks,
        "entries": len(table.entries),
        "measured": len(table.entries) - known,
        "lacking": len(lacking),
        "calibration": calibration,
        "residue": [str(shape) for shape in table.residue(network.at({}))],
        "warnings": [*table.warnings, *remarks],
    }


def check_measures(platform: Platform, resource: str) -> None:
    """Refuse a resource that a device does not measure of whole networks.

    Raises:
        UsageError: it does not.
    """
    if resource not in platform.resources:
        raise UsageError(f"{platform.uri} measures no {resource}; {remedy(resource)}.")


def _fitted(table: LookupTable, works: Mapping[str, Workload]) -> list[dict[str, Any]]:
    """What was measured of each network, beside what its powers say now."""
    cost = EnergyCost.of(table)
    known = {row.layers: row for row in table.energies}
    return [
        {
            "width": name,
            "measured": known[fingerprint(work.layers)].joules,
            "noise": known[fingerprint(work.layers)].spread,
            "predicted": cost_of(cost, work.layers),
        }
        for name, work in works.items()
    ]


def _calibrated(
    table: LookupTable, platform: LayerTimer, variants: Variants, calibrating: Mapping[str, Sizes],
    counter: Counter,
) -> tuple[LookupTable, list[dict[str, Any]]]:  # fmt: skip
    """The table fitted to whole networks, with what was measured of each."""
    works = [variants.workload(sizes) for sizes in calibrating.values()]
    readings = platform.measure_networks(works, SPREAD, counter("calibration"))
    measured = [reading[table.resource] for reading in readings]
    pairs = [(m.value, work.layers) for m, work in zip(measured, works, strict=True)]
    table = table.calibrated(pairs, name=f"{variants.subject.name} at {', '.join(calibrating)}")
    return table, [
        {
            "width": name,
            "measured": m.value,
            "noise": m.noise,
            "predicted": table.price(work.layers),
        }
        for name, m, work in zip(calibrating, measured, works, strict=True)
    ]


def verify_table(
    source: Source,
    path: Path,
    *,
    platform_uri: str,
    sample: Sample,
    tolerance: Tolerance | None = None,
    counter: Counter = uncounted,
) -> dict[str, Any]:
    """Hold a table against whole networks that it never saw, beside simpler predictors.

    Args:
        source: the model.
        path: the table.
        platform_uri: the device that it is of.
        sample: which networks; a multiple of 0 takes what suits the device.
        tolerance: what may be off; by default the usual for networks as fast as these.
        counter: told of the layers and networks as they are measured.

    Raises:
        TableError: the table is of another device or of other settings.
    """
    table = LookupTable.load(path)
    platform = open_layer_timer(platform_uri)
    if sample.resource == "energy":
        EnergyCost.of(table)  # refused if it holds none
    check_measures(platform, sample.resource)
    info = platform.describe()
    table.require(info)
    subject = Subject(assemble(source))
    variants = subject.variants(info)
    sample = replace(sample, multiple=sample.multiple or info.multiple)
    observed = observe(
        subject.network,
        platform,
        variants.onnx,
        sample,
        progress=counter("networks"),
    )
    comparing = compare_energy if sample.resource == "energy" else compare
    accuracies, extra = comparing(table, platform, observed, counter)
    return {"model": source.model, "measured_for_this": extra, "remarks": variants.remarks,
            **report(table, observed, accuracies, tolerance, sample.resource)}  # fmt: skip


def compare(
    table: LookupTable,
    platform: LayerTimer,
    observed: Observations,
    counter: Counter = uncounted,
) -> tuple[dict[str, Accuracy], int]:
    """Hold a table, and simpler predictors, against measured networks.

    Layers that the table does not price are measured now, and only for this.

    Returns:
        Accuracies by predictor, the table's first; and how many layers were measured.
    """
    lacking = table.lacking(observed.layers)
    table = table.fill(platform, lacking, effort=LAYERS, progress=counter("layers"))
    ready = bool(table.calibration.networks)
    accuracies = {"lookup table": assess(observed, table.price, calibrate=not ready)}
    if ready:
        plain = replace(table, calibration=Calibration())
        accuracies["the same, calibrated anew"] = assess(observed, plain.price, calibrate=True)
    naive = _alone_s(platform, observed.layers, counter) if table.resource == "latency" else {}
    if naive:
        accuracies["single layers, summed"] = assess(
            observed, lambda layers: sum(naive[shape] for shape in layers), calibrate=True
        )
    accuracies["MACs"] = assess(observed, lambda layers: cost_of(MACS, layers), calibrate=True)
    return accuracies, len(lacking)


def compare_energy(
    table: LookupTable,
    platform: LayerTimer,
    observed: Observations,
    counter: Counter = uncounted,
) -> tuple[dict[str, Accuracy], int]:
    """The same of energy: powers by class beside one power for all, and MACs."""
    lacking = table.lacking(observed.layers)
    table = table.fill(platform, lacking, effort=LAYERS, progress=counter("layers"))
    cost = EnergyCost.of(table)
    plain = EnergyCost(table, replace(cost.powers, calibration=Calibration()))
    return {
        "powers by class": assess(observed, partial(cost_of, cost), calibrate=False),
        "the same, calibrated anew": assess(observed, partial(cost_of, plain), calibrate=True),
        "one power, by latency": assess(observed, table.price, calibrate=True),
        "MACs": assess(observed, partial(cost_of, MACS), calibrate=True),
    }, len(lacking)


def _alone_s(
    platform: Platform, shapes: Sequence[LayerShape], counter: Counter
) -> dict[LayerShape, float]:
    """Seconds of each layer as a network of its own; empty for devices that cannot say."""
    if not isinstance(platform, OrtPlatform):
        return {}
    single = replace(platform, method=alone)
    priced = [shape for shape in shapes if op_of(shape.op).priced]
    times = single.measure_layers(priced, LAYERS, counter("single layers"))
    seconds = {shape: measurement.value for shape, measurement in times}
    return {shape: seconds.get(shape, 0.0) for shape in shapes}


def bundle_table(
    source: Source, folder: Path, *, platform_uri: str, multiple: int
) -> dict[str, Any]:
    """Write a folder that measures, on any device, what a table for a model needs.

    Arguments and errors as of :func:`netadapt.tables.bundle.write_bundle`; its results become a
    table by :func:`netadapt.tables.bundle.read_bundle`.
    """
    subject = Subject(assemble(source))
    return write_bundle(subject, folder, platform_uri=platform_uri, multiple=multiple)

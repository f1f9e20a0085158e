"""Tables of devices without SSH: a folder to carry there, and what it brings back.

``plan.jsonl`` is what ``bench.py`` reads on standard input anywhere; its first line also says which
layers the models are of, for the day when ``results.jsonl`` comes back. How many channels the
device computes at once shows only then, so that the plan serves every block that there is.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Protocol

from netadapt.errors import DeviceError, UsageError
from netadapt.files import check_output
from netadapt.network import LayerShape, Network, Sizes
from netadapt.platforms import Effort, open_platform
from netadapt.platforms.bench.program import program
from netadapt.platforms.link import Item, Link
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.platforms.ort.options import Options
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import terms
from netadapt.platforms.replies import Record, parsed, sound
from netadapt.tables.correction import calibration_sizes, random_sizes
from netadapt.tables.lookup import TABLE_BEGINS, LookupTable
from netadapt.tables.plan import TableRequest, plan
from netadapt.tables.rows import Entry, require_sizes

BLOCKS = (1, 8, 16)
"""Channels that a device may turn out to compute at once."""

UNSEEN = 20
"""Networks of random widths by which an imported table is judged: which of them does it price?"""

RESULTS = "results.jsonl"
_RUN = f"""#!/bin/sh
# Runs anywhere that has Python 3.8, numpy and onnxruntime. PYTHON names another interpreter.
cd "$(dirname "$0")" || exit 1
"${{PYTHON:-python3}}" bench.py < plan.jsonl > {RESULTS}
"""
_README = """Measure {model} on a device that netadapt cannot reach

1. Copy this folder to the device (USB cable, adb push, a file-sharing app).
2. There, with Python 3.8 or newer:   pip install numpy onnxruntime
3. Run:                               sh run.sh
   or, without a shell:               python bench.py < plan.jsonl > {results}
4. Copy {results} back into this folder, and on the host:
                                      netadapt table import FOLDER -o table.csv

An interrupted run loses nothing that it had written: import takes what is there.
{count} models; let the device be idle, cool, and on mains power.
"""


class Scalable(Protocol):
    """A model that can be written at other widths."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def network(self) -> Network:
        """What was traced from it."""
        ...

    def writer(self, info: DeviceInfo) -> Callable[[Sizes], bytes]:
        """What writes the network at some sizes, as a device runs it."""
        ...


@dataclass(frozen=True)
class Carried:
    """What a plan says of its models, besides the models.

    Attributes:
        model: name of the model.
        options: how the device is to measure.
        layers: the layers that the table gets rows of.
        networks: the whole networks that calibrate it, by the names of their files.
        unseen: further networks, not measured, that the table is to price.
    """

    model: str
    options: Options
    layers: tuple[LayerShape, ...]
    networks: Mapping[str, tuple[LayerShape, ...]]
    unseen: tuple[tuple[LayerShape, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in which each layer stands once; :meth:`from_json` reads it back."""
        everything = chain(self.layers, *self.networks.values(), *self.unseen)
        number = {shape: n for n, shape in enumerate(dict.fromkeys(everything))}
        return {
            "model": self.model,
            "options": asdict(self.options),
            "shapes": [asdict(shape) for shape in number],
            "layers": [number[s] for s in self.layers],
            "networks": {name: [number[s] for s in n] for name, n in self.networks.items()},
            "unseen": [[number[s] for s in network] for network in self.unseen],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Carried":
        """Read what :meth:`to_json` wrote."""
        shapes = [_shape(values) for values in data["shapes"]]

        def of(numbers: Iterable[int]) -> tuple[LayerShape, ...]:
            return tuple(shapes[n] for n in numbers)

        return cls(
            model=data["model"],
            options=Options(**data["options"]),
            layers=of(data["layers"]),
            networks={name: of(numbers) for name, numbers in data["networks"].items()},
            unseen=tuple(of(numbers) for numbers in data["unseen"]),
        )


def write_bundle(
    subject: Scalable, folder: Path, *, platform_uri: str, multiple: int
) -> dict[str, Any]:
    """Write a folder that measures, on any device, what a table for a model needs.

    Args:
        subject: the model.
        folder: a new one.
        platform_uri: how the device is to measure.
        multiple: widths are multiples of it.

    Raises:
        UsageError: the folder holds something already, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; give a new one.")
    device = open_platform(platform_uri)
    if not isinstance(device, OrtPlatform) or not platform_uri.startswith("ort:"):
        raise UsageError(
            f"{platform_uri} does not say how the device is to measure; give ort:PROVIDER with "
            "options, such as 'ort:cpu?threads=2'."
        )
    if device.options.energy:
        raise UsageError(
            "A bundle measures time alone; leave energy= out, and measure energy over SSH or on "
            "the device itself with 'netadapt table build --resource energy'."
        )
    network = subject.network
    calibrating = calibration_sizes(network, multiple)
    request = TableRequest(network, {}, multiple, others=tuple(calibrating.values()))
    shapes = plan_for_any(request, device.options)
    files = {f"network{n}.onnx": sizes for n, sizes in enumerate(calibrating.values())}
    carried = Carried(
        model=subject.name,
        options=device.options,
        layers=tuple(shape for shape in shapes if device.can_time(shape)),
        networks={name: network.at(sizes) for name, sizes in files.items()},
        unseen=tuple(network.at(random_sizes(network, multiple, n)) for n in range(UNSEEN)),
    )
    effort = Effort()
    # the device is not known: in 7 bits sums are exact on any, and timings those of 8
    _, items = device.plan({shape: terms(shape) for shape in carried.layers}, effort, weight_bits=7)
    lines: list[Mapping[str, Any]] = [
        {**device.settings(effort), "about": carried.to_json()},
        *({"id": item.id, **item.model()} for item in items),
        *({"id": name, "path": name} for name in files),
    ]
    info = _unknown_device(device.options, 1)
    write = subject.writer(info)
    _write(folder, lines, subject.name, {name: write(sizes) for name, sizes in files.items()})
    layers, models = len(carried.layers), len(lines) - 1
    return {"schema": 1, "folder": str(folder), "layers": layers, "models": models}


def plan_for_any(request: TableRequest, options: Options) -> tuple[LayerShape, ...]:
    """The layers to measure on a device of any block, in the order in which the error falls.

    Other providers than the processor's have no blocks.
    """
    blocks = BLOCKS if options.provider == "cpu" else (1,)
    plans = [plan(request, _unknown_device(options, block)) for block in blocks]
    in_turn = chain.from_iterable(zip_longest(*plans))
    return tuple(dict.fromkeys(shape for shape in in_turn if shape is not None))


def _unknown_device(options: Options, block: int) -> DeviceInfo:
    """A device of which only its settings are known, for one block that it may have."""
    layout = "NHWC" if options.precision == "int8" else "NCHWc" if block > 1 else "NCHW"
    return DeviceInfo(
        f"bundle:{options.provider}", "unknown", "unknown", "onnxruntime", options.threads,
        options.level, block, layout, options.precision, saturates=True,
        batch=options.batch,
    )  # fmt: skip


def _write(
    folder: Path, lines: Sequence[Mapping[str, Any]], model: str, networks: Mapping[str, bytes]
) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "plan.jsonl").is_file():
        raise UsageError(f"{folder} is there already and holds no bundle; name a new folder.")
    for name in ("bench.py", "plan.jsonl", "run.sh", "README.txt", *networks):
        check_output(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.py").write_bytes(program())
        for name, onnx in networks.items():
            (folder / name).write_bytes(onnx)
        with (folder / "plan.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        (folder / "run.sh").write_text(_RUN)
        (folder / "run.sh").chmod(0o755)
        text = _README.format(model=model, results=RESULTS, count=len(lines) - 1)
        (folder / "README.txt").write_text(text)
    except OSError as error:
        raise UsageError(f"Cannot write the bundle {folder}: {error.strerror}.") from error


def read_bundle(folder: Path, out: Path) -> dict[str, Any]:
    """Make a lookup table of what a bundle brought back, however far it came.

    Raises:
        UsageError: there is no plan, or no result.
        DeviceError: the device could measure nothing.
    """
    check_output(out, begins=TABLE_BEGINS)
    carried = _carried(folder)
    records = list(_records(folder / RESULTS))
    for record in records:
        if record["kind"] == "fatal":
            raise DeviceError(f"The device could not measure: {record['error']}. Mend it there.")
    if not any(record["kind"] == "info" for record in records):
        raise UsageError(
            f"{folder / RESULTS} says nothing of a device; run run.sh there once more."
        )
    table, failure = _table(carried, records)
    pairs = [
        (measured, layers)
        for name, layers in carried.networks.items()
        if (measured := _measured(name, records)) and not table.lacking(layers)
    ]
    if pairs:
        table = table.calibrated(pairs, name=f"{carried.model} at {len(pairs)} widths")
    table.save(out)
    remarks = [failure] if failure else []
    lacking = [shape for shape in carried.layers if shape not in table.entries]
    if lacking:
        remarks.append(
            f"{len(lacking)} of {len(carried.layers)} layers have no result, the first of them "
            f"{lacking[0]}; run run.sh to its end and import again for a whole table."
        )
    if not pairs:
        remarks.append("No whole network was measured, so that the table is not calibrated.")
    coverage = Coverage.of(table, carried.unseen)
    return {
        "schema": 2,
        "device": table.info.to_json(),
        "entries": len(carried.layers) - len(lacking),
        "wanted": len(carried.layers),
        "calibrated": bool(pairs),
        "coverage": asdict(coverage),
        "remarks": [*remarks, *coverage.remarks(table.info.block)],
    }


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which networks of random widths a table prices, and how.

    Attributes:
        networks: how many were asked for.
        refused: those that have no price.
        estimated: those of which some layer is estimated from others of its kind.
        share: the largest share of a network's price that is estimated.
    """

    networks: int
    refused: int
    estimated: int
    share: float

    @classmethod
    def of(cls, table: LookupTable, networks: Sequence[Sequence[LayerShape]]) -> "Coverage":
        """Ask a table for some networks."""
        refused, shares = 0, []
        for layers in networks:
            estimated = set(table.estimated(layers))
            if set(table.lacking(layers)) - estimated:
                refused += 1
                continue
            prices = [(shape in estimated, table.layer(shape)) for shape in layers]
            total = sum(price for _, price in prices)
            shares.append(sum(price for made_up, price in prices if made_up) / (total or 1.0))
        present = [share for share in shares if share > 0]
        return cls(len(networks), refused, len(present), max(present, default=0.0))

    def remarks(self, block: int) -> list[str]:
        """Sentences on what is refused, and on what is estimated."""
        found = []
        if self.refused:
            found.append(
                f"{self.refused} of {self.networks} networks of random widths have no price: "
                "layers of some kind were not measured at all."
            )
        if self.estimated:
            found.append(
                f"{self.estimated} of {self.networks} networks of random widths hold layers whose "
                f"cost is estimated from others, up to {self.share:.1%} of the whole; such are "
                f"widths that the device's blocks of {block} channels do not divide."
            )
        return found


def _table(carried: Carried, records: Sequence[Record]) -> tuple[LookupTable, str]:
    """The rows that came back, and what failed."""

    def answers(link: Link, settings: Mapping[str, Any], items: Sequence[Item]) -> Iterator[Record]:
        wanted = {item.id for item in items}
        return (r for r in records if r["kind"] != "visit" or r["id"] in wanted)

    link = Link((), "The device")
    uri = f"bundle:{carried.options.provider}"
    device = OrtPlatform(uri, carried.options, link, talk=answers)
    entries: dict[LayerShape, Entry] = {}
    warnings: dict[str, None] = {}
    failure = ""
    try:
        for shape, measurement in device.measure_layers(carried.layers):
            entries[shape] = Entry.of(measurement)
            warnings.update(dict.fromkeys(measurement.warnings))
    except DeviceError as error:
        failure = str(error)
    info = device.describe()
    return LookupTable(info, entries, interpolated=True, warnings=tuple(warnings)), failure


def _measured(name: str, records: Sequence[Record]) -> float | None:
    """Seconds of a whole network; None if it never ran."""
    visits = [r["ns"] for r in records if r["kind"] == "visit" and r["id"] == name]
    samples = tuple(ns * 1e-9 for visit in visits for ns in visit)
    return Measurement(samples).value if samples else None


def _carried(folder: Path) -> Carried:
    path = folder / "plan.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            return Carried.from_json(json.loads(file.readline())["about"])
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {error.strerror}.") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, UsageError):
        raise UsageError(
            f"{path} is no plan that this netadapt's 'table bundle' wrote; write the bundle anew."
        ) from None


def _records(path: Path) -> Iterator[Record]:
    """Whole lines of results; a last one that was cut off is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"Cannot read the results {path}: {error.strerror}. Run run.sh on the device and copy "
            f"{RESULTS} back."
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        record = parsed(line)
        if record is None:
            continue
        ids = (record["id"],) if isinstance(record.get("id"), str) else ()
        if not sound(record, ids):
            raise UsageError(
                f"The results {path} have what is no measurement in line {number}; copy them from "
                "the device once more."
            )
        yield record


def _shape(values: Mapping[str, Any]) -> LayerShape:
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    shape = LayerShape(**given)
    require_sizes(shape)
    return shape

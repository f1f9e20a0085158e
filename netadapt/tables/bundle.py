"""Tables of devices without SSH: a folder to carry there, and what it brings back.

``plan.jsonl`` is what ``bench.py`` reads on standard input anywhere; its first line also says which
layers the models are of, for the day when ``results.jsonl`` comes back.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from netadapt.errors import DeviceError, UsageError
from netadapt.measuring import Source, Subject
from netadapt.network import LayerShape
from netadapt.platforms import Effort, Progress, Readings, Workload, open_platform
from netadapt.platforms.link import Item, Link, Record, bench_source
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.platforms.ort.platform import Options, OrtPlatform
from netadapt.platforms.ort.probes import terms
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.search.strategies import one_group
from netadapt.tables.build import complete_table, lacks
from netadapt.tables.correction import calibration_sizes
from netadapt.tables.rows import Entry
from netadapt.tables.table import LookupTable

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


class Planner:
    """A device that notes what it is asked for, and answers with made-up times."""

    def __init__(self, block: int) -> None:
        self._device = SyntheticPlatform(block=block)
        self.uri = self._device.uri
        self.asked: dict[LayerShape, None] = {}

    @property
    def resources(self) -> tuple[str, ...]:
        """Made-up times."""
        return ("latency",)

    def describe(self) -> DeviceInfo:
        """The made-up device."""
        return self._device.describe()

    def measure_layers(
        self,
        shapes: Sequence[LayerShape],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """Note the layers."""
        self.asked.update(dict.fromkeys(shapes))
        return self._device.measure_layers(shapes, effort, progress)

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Readings]:
        """Made-up times."""
        return self._device.measure_networks(models, effort, progress)


def write_bundle(
    source: Source, folder: Path, *, platform_uri: str, multiple: int
) -> dict[str, Any]:
    """Write a folder that measures, on any device, what a table for a model needs.

    Args:
        source: the model.
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
            f"--on {platform_uri} does not say how the device is to measure; give ort:PROVIDER "
            "with options, such as 'ort:cpu?threads=2'."
        )
    subject = Subject.of(source)
    network = subject.network
    calibrating = calibration_sizes(network, multiple)
    planner = Planner(multiple)
    with tempfile.TemporaryDirectory() as scratch:
        complete_table(
            LookupTable(planner.describe()), planner, network, {}, one_group.propose, multiple,
            path=Path(scratch) / "table.csv", others=calibrating.values(),
        )  # fmt: skip
    shapes = [shape for shape in planner.asked if device.can_time(shape)]
    effort, options = Effort(), device.options
    _, items = device.plan({shape: terms(shape) for shape in shapes}, effort)
    files = {f"network{n}.onnx": sizes for n, sizes in enumerate(calibrating.values())}
    about = {
        "model": source.model,
        "options": asdict(options),
        "layers": [asdict(shape) for shape in shapes],
        "networks": {n: [asdict(s) for s in network.at(sizes)] for n, sizes in files.items()},
    }
    lines: list[Mapping[str, Any]] = [
        {**device.settings(effort), "about": about},
        *({"id": item.id, **item.model()} for item in items),
        *({"id": name, "path": name} for name in files),
    ]
    settings = replace(planner.describe(), precision=options.precision, batch=options.batch)
    variants = subject.variants(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.py").write_bytes(bench_source())
        for name, sizes in files.items():
            (folder / name).write_bytes(variants.onnx(sizes))
        with (folder / "plan.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        (folder / "run.sh").write_text(_RUN)
        (folder / "run.sh").chmod(0o755)
        text = _README.format(model=source.model, results=RESULTS, count=len(lines) - 1)
        (folder / "README.txt").write_text(text)
    except OSError as error:
        raise UsageError(f"Cannot write the bundle {folder}: {error.strerror}.") from error
    return {"schema": 1, "folder": str(folder), "layers": len(shapes), "models": len(lines) - 1}


def read_bundle(folder: Path, out: Path) -> dict[str, Any]:
    """Make a lookup table of what a bundle brought back, however far it came.

    Raises:
        UsageError: there is no plan, or no result.
        DeviceError: the device could measure nothing.
    """
    about = _about(folder)
    records = list(_records(folder / RESULTS))

    def answers(link: Link, settings: Mapping[str, Any], items: Sequence[Item]) -> Iterator[Record]:
        wanted = {item.id for item in items}
        return (r for r in records if r["kind"] != "visit" or r["id"] in wanted)

    for record in records:
        if record["kind"] == "fatal":
            raise DeviceError(f"The device could not measure: {record['error']}. Mend it there.")
    if not any(record["kind"] == "info" for record in records):
        raise UsageError(
            f"{folder / RESULTS} says nothing of a device; run run.sh there once more."
        )
    options = Options(**about["options"])
    device = OrtPlatform(
        f"bundle:{options.provider}", options, Link((), "The device"), talk=answers
    )
    shapes = [_shape(values) for values in about["layers"]]
    entries: dict[LayerShape, Entry] = {}
    warnings: dict[str, None] = {}
    failed = ""
    try:
        for shape, measurement in device.measure_layers(shapes):
            entries[shape] = Entry.of(measurement)
            warnings.update(dict.fromkeys(measurement.warnings))
    except DeviceError as error:
        failed = str(error)
    table = LookupTable(device.describe(), entries, interpolated=True, warnings=tuple(warnings))
    networks = {name: list(map(_shape, layers)) for name, layers in about["networks"].items()}
    runs: dict[str, list[float]] = {name: [] for name in networks}
    for record in records:
        if record["kind"] == "visit" and record["id"] in runs:
            runs[record["id"]] += [ns * 1e-9 for ns in record["ns"]]
    pairs = [
        (Measurement(tuple(runs[name])).p10, layers)
        for name, layers in networks.items()
        if runs[name] and not lacks(table, layers)
    ]
    if pairs:
        table = table.calibrated(pairs, name=f"{about['model']} at {len(pairs)} widths")
    table.save(out)
    lacking = [shape for shape in shapes if shape not in entries]
    remarks = [failed] if failed else []
    if lacking:
        remarks.append(
            f"{len(lacking)} of {len(shapes)} layers have no result, the first of them "
            f"{lacking[0]}; run run.sh to its end and import again for a whole table."
        )
    if not pairs:
        remarks.append("No whole network was measured, so that the table is not calibrated.")
    return {
        "schema": 1,
        "device": table.info.to_json(),
        "entries": sum(shape in entries for shape in shapes),
        "wanted": len(shapes),
        "calibrated": bool(pairs),
        "remarks": remarks,
    }


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "plan.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            about: dict[str, Any] = json.loads(file.readline())["about"]
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {error.strerror}.") from error
    except (ValueError, KeyError):
        raise UsageError(f"{path} is no plan that 'netadapt table bundle' wrote.") from None
    return about


def _records(path: Path) -> Iterator[Record]:
    """Whole lines of results; a last one that was cut off is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"Cannot read the results {path}: {error.strerror}. Run run.sh on the device and copy "
            f"{RESULTS} back."
        ) from error
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "kind" in record:
            yield record


def _shape(values: Mapping[str, Any]) -> LayerShape:
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return LayerShape(**given)

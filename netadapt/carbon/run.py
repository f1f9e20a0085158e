"""From the journal of a run to what it used and gained."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from netadapt.carbon.crosscheck import added_up
from netadapt.carbon.power import Trainer
from netadapt.carbon.ranges import Range
from netadapt.carbon.use import Inference, Phase, Provenance, RunUse
from netadapt.config import parse_workers
from netadapt.errors import UsageError
from netadapt.runs import Phase as Work
from netadapt.runs import Record, last, read_journal
from netadapt.runs.events import (
    Continued,
    CrossChecked,
    Figures,
    Finished,
    Inherited,
    Measured,
    Started,
)
from netadapt.runs.works import works

_PACKAGES = ("python", "torch", "onnxruntime")


def read_use(folder: Path) -> RunUse:
    """What a run used, finished or not.

    Args:
        folder: the run folder.

    Raises:
        UsageError: it holds no run.
        RunError: its journal is damaged.
    """
    return use_of(str(folder), read_journal(folder))


def use_of(name: str, records: Sequence[Record]) -> RunUse:
    """What the records of a run tell.

    Args:
        name: of the run.
        records: of its journal, from the first.

    Raises:
        UsageError: there are none.
    """
    started = records[0].event if records else None
    if not isinstance(started, Started):
        raise UsageError(f"{name} holds no run; name a folder with a journal.jsonl.")
    measured = _energy_readings(records)
    devices = started.settings.get("devices", {})
    told = devices.get(measured.device, {}) if measured else {}
    source = told.get("sensor") or told.get("platform")
    finished = last(records, Finished)
    before = after = None
    if measured:
        told = (finished.before, finished.after) if finished else (None, None)
        before = _inference(measured.unpruned, source, _told(told[0], measured.device))
        after = _inference(measured.readings, source, _told(told[1], measured.device))
    return RunUse(
        name=name,
        phases=_phases(records),
        trainer=trainer_of(started, (last(records, Continued) or started).execution),
        before=before,
        after=after,
        finished=finished is not None,
        provenance=_provenance(started, measured.device if measured else None),
        after_run=inherited.run if (inherited := last(records, Inherited)) else "",
        cross_check=added_up(r.event for r in records if isinstance(r.event, CrossChecked)),
    )


def _phases(records: Sequence[Record]) -> tuple[Phase, ...]:
    """Each kind of work, summed; what the run did besides is ``other``."""
    parts: dict[str, list[Work]] = {}
    for work in (work for record in records for work in works(record.event)):
        if work.seconds:
            parts.setdefault(work.name, []).append(work)
    phases = [_summed(name, works) for name, works in parts.items()]
    other_s = _elapsed_s(records) - math.fsum(phase.seconds for phase in phases)
    return (*phases, *([Phase("other", other_s)] if other_s > 0 else []))


def _summed(name: str, works: Sequence[Work]) -> Phase:
    """Its energy is known only if that of every part is."""
    energies = [work.energy_j for work in works if work.energy_j is not None]
    known = len(energies) == len(works)
    return Phase(
        name=name,
        seconds=math.fsum(work.seconds for work in works),
        images=sum(work.images + work.scored for work in works) or None,
        energy_j=math.fsum(energies) if known else None,
        sensor=", ".join(dict.fromkeys(work.sensor for work in works)) if known else None,
    )


def _elapsed_s(records: Sequence[Record]) -> float:
    """Seconds between the records, without the pauses before a run was taken up again."""
    return math.fsum(
        max(0.0, after.time - before.time)  # a clock may be set back
        for before, after in pairwise(records)
        if not isinstance(after.event, Continued)
    )


def trainer_of(started: Started, execution: Mapping[str, Any]) -> Trainer | None:
    """What trains.

    Args:
        started: the first line of a journal.
        execution: how the run is executed now.

    Returns:
        None where it was not recorded, as of the nodes of a cluster.
    """
    machine, workers = started.machine, parse_workers(str(execution.get("workers", "1")))
    if machine is None or workers.cluster:
        return None
    if str(execution.get("trainer", "cpu")).startswith("cpu"):
        threads = int(machine.get("threads", machine["cores"]))
        busy = max(threads, min(threads * workers.count, int(machine["cores"])))
        return Trainer(str(machine["processor"]), "cpu", busy)
    gpus = len(set(workers.gpus)) or 1
    return Trainer(str(machine.get("accelerator", "an accelerator")), "gpu", gpus)


def _energy_readings(records: Sequence[Record]) -> Measured | None:
    """The last measurement on the first device that tells energy, else on the first of all."""
    newest = {r.event.device: r.event for r in records if isinstance(r.event, Measured)}
    telling = [event for event in newest.values() if "energy" in event.readings]
    return next(iter(telling or newest.values()), None)


def _told(figures: Figures | None, device: str) -> dict[str, float]:
    """What the result of a run says that a network costs on a device, by resource."""
    costs = figures.costs if figures else {}
    names = {r: costs.get(r, costs.get(f"{device}:{r}")) for r in ("latency", "energy")}
    return {resource: cost for resource, cost in names.items() if cost}


def _inference(
    readings: Mapping[str, Mapping[str, Any]], source: str | None, told: Mapping[str, float]
) -> Inference:
    """An inference as it was last measured, at the level that the result of the run says."""
    latency, energy = readings.get("latency"), readings.get("energy")
    return Inference(
        latency_s=None if latency is None else _spread(latency, told.get("latency")),
        energy_j=None if energy is None else _spread(energy, told.get("energy")),
        basis=None if energy is None else "modelled" if energy["clock"] == "model" else "measured",
        source=source,
        windows=None if energy is None else int(energy["runs"]),
    )


def _spread(summary: Mapping[str, Any], told: float | None) -> Range:
    """The headline of a measurement, from its 10th to its 90th percentile."""
    level = told / summary["value"] if told and summary["value"] else 1.0
    return Range(*(level * summary[name] for name in ("value", "p10", "p90")))


def _provenance(started: Started, device: str | None) -> Provenance:
    config, data = started.settings.get("config", {}), started.settings.get("data", {})
    devices = started.settings.get("devices", {})
    told = devices.get(device) or next(iter(devices.values()), None)
    packages = [
        f"{name} {started.versions[name]}" for name in _PACKAGES if name in started.versions
    ]
    return Provenance(
        version=started.versions.get("netadapt"),
        command=started.command or None,
        seed=config.get("seed"),
        data=data.get("name") or config.get("data"),
        data_fingerprint=data.get("fingerprint"),
        device="{device} ({platform}, {runtime})".format_map(told)
        if told and {"device", "platform", "runtime"} <= set(told)
        else None,
        software=", ".join(packages) or None,
    )

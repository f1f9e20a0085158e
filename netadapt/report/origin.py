"""What the run used, and where it comes from: time, energy and carbon, provenance."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from netadapt.carbon.account import Account
from netadapt.carbon.phrases import duration_in_words
from netadapt.carbon.statement import state
from netadapt.carbon.use import Phase
from netadapt.report.blocks import Bullets, Figures, Prose, Section, Table, clipped, thinned
from netadapt.report.charts import stacked, swatch
from netadapt.report.facts import Facts
from netadapt.units import format_bytes, format_count

MOST_WARNINGS, MOST_SETTINGS = 40, 200


def time_spent(phases: tuple[Phase, ...]) -> Section:
    """Where the time went."""
    title = "Where the time went"
    longest = sorted(phases, key=lambda phase: -phase.seconds)
    total_s = math.fsum(phase.seconds for phase in phases)
    if not total_s:
        return Section("time", title, (Prose("Nothing that takes time is finished yet."),))
    rows = tuple(
        (swatch(i) + phase.name, duration_in_words(phase.seconds), f"{phase.seconds / total_s:.1%}",
         format_count(phase.images) if phase.images else "-")
        for i, phase in enumerate(longest)
    )  # fmt: skip
    table = Table(
        "Time by kind of work", ("work", "time", "share", "images"), rows, frozenset({1, 2, 3}),
        "Trials that run side by side count each. Other is what the run did between them.",
    )  # fmt: skip
    chart = stacked("Time by kind of work", [(p.name, p.seconds) for p in longest])
    return Section("time", title, (Figures((chart,)), table))


def energy(account: Account) -> Section:
    """Energy and carbon, with the statement for a paper."""
    stated = state(account)
    table = Table(
        "Energy and carbon", ("", ""),
        tuple((clipped(label), clipped(value, 2000)) for label, value in stated.rows),
    )  # fmt: skip
    return Section("energy", "Energy and carbon", (Prose(clipped(stated.paragraph, 5000)), table))


def provenance(facts: Facts) -> Section:
    """Versions, machine, devices, data, settings, files, and what disturbed it."""
    blocks: list[Table | Prose | Bullets] = [_origin(facts), _settings(facts)]
    if facts.warnings:
        shown = thinned(facts.warnings, MOST_WARNINGS)
        blocks += [
            Prose(f"Warnings ({len(shown)} of {len(facts.warnings)}):"),
            Bullets(tuple(map(clipped, shown))),
        ]
    return Section("provenance", "Provenance", tuple(blocks))


def _origin(facts: Facts) -> Table:
    started = facts.started
    rows = [
        ("run", facts.name),
        ("state", _state(facts)),
        *([("goes on from", facts.after)] if facts.after else []),
        ("began", _date(facts.began_s)),
        ("last line written", _date(facts.ended_s)),
        ("taken up again", f"{facts.continued} times"),
        *started.versions.items(),
        *((f"trainer, {name}", value) for name, value in (started.machine or {}).items()),
        *((f"device {name}", words) for name, words in _devices(facts).items()),
        *(
            (f"table of {name}", f"{rows} layers measured in {duration_in_words(seconds)}")
            for name, (rows, seconds) in facts.tables.items()
        ),
        *((f"data, {name}", value) for name, value in _data(facts).items()),
    ]
    if facts.exported is not None:
        rows += [(f"file {name}", format_bytes(n)) for name, n in facts.exported.files.items()]
    if facts.finished is not None:
        difference = f"{facts.finished.onnx_difference:.1e} of the largest output"
        rows.append(("ONNX Runtime differs from torch by", difference))
    return Table(
        "What made it",
        ("what", "value"),
        tuple((clipped(label, 120), clipped(value)) for label, value in rows),
    )


def _state(facts: Facts) -> str:
    if facts.finished:
        return "finished"
    return "ended short of its budgets" if facts.stopped else "unfinished"


def _devices(facts: Facts) -> Mapping[str, Any]:
    if facts.finished is not None:
        return facts.finished.devices
    told = facts.started.settings.get("devices", {})
    return {name: f"{d.get('device')} ({d.get('platform')})" for name, d in told.items()}


def _data(facts: Facts) -> dict[str, Any]:
    data = facts.started.settings.get("data", {})
    return {name: data[name] for name in ("name", "images", "fingerprint") if name in data}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _settings(facts: Facts) -> Table:
    lines = _flat(facts.started.settings.get("config", {}))
    rows = tuple((clipped(name, 120), clipped(value)) for name, value in lines[:MOST_SETTINGS])
    return Table("Settings that decide the result", ("setting", "value"), rows,
                 summary=f"{len(rows)} settings")  # fmt: skip


def _flat(settings: Mapping[str, Any], at: str = "") -> list[tuple[str, str]]:
    """Nested settings as paths and JSON values."""
    lines: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{at}{name}.")
        else:
            lines.append((f"{at}{name}", json.dumps(value, ensure_ascii=False)))
    return lines

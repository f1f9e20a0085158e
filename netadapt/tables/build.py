"""Lookup tables of networks: opened, completed on a device, and described."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from netadapt.platforms import NOT_LAYERS, REFILL, Effort, LayerTimer, Progress
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.energy import describe_energy
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest, plan

LAYERS = Effort(spread_s=2.0)
"""How layers are measured: those of a small network would be done in a moment, and a slow moment of
the machine would be in all of them."""


def open_table(given: Path | None, own: Path, info: DeviceInfo) -> LookupTable:
    """The table of a run: its own as far as it was measured, else the one given, else empty.

    Raises:
        TableError: it is of another device or of other settings, or cannot be read.
    """
    path = own if own.exists() else given
    table = LookupTable.load(path) if path else LookupTable(info)
    table.require(info)
    return table


def complete_table(
    table: LookupTable,
    platform: LayerTimer,
    request: TableRequest,
    *,
    path: Path,
    progress: Progress | None = None,
    time_limit_s: float | None = None,
) -> LookupTable:
    """A table that prices the request; measures what it lacks for that.

    Args:
        table: what is known. One that has rows and is not interpolated stays so.
        platform: the device.
        request: what it is to price.
        path: where rows are kept as they come.
        progress: called as it proceeds.
        time_limit_s: stop after this long; what lowers the error most comes first. See
            :meth:`LookupTable.lacking`.
    """
    request = replace(request, dense=is_dense(table, request))
    if time_limit_s is not None and time_limit_s <= 0:
        return table
    shapes = plan(request, table.info, table.entries)
    if not shapes:
        return table
    return replace(table, interpolated=not request.dense).fill(
        platform,
        shapes,
        effort=replace(LAYERS, time_limit_s=time_limit_s),
        path=path,
        progress=progress,
    )


def is_dense(table: LookupTable, request: TableRequest) -> bool:
    """Whether a table gets a row for each layer, as was asked of it or as it was begun."""
    return not table.interpolated and (request.dense or bool(table.entries))


def describe_table(path: Path) -> dict[str, Any]:
    """What a table holds, costliest layers first, as plain JSON values in its unit."""
    table = LookupTable.load(path)
    refill, calibration = table.entries.get(REFILL), table.calibration
    return {
        "schema": 2,
        "device": table.info.to_json(),
        "resource": table.resource,
        "unit": table.unit,
        "measured_on": table.measured_on,
        "interpolated": table.interpolated,
        "overhead": table.overhead,
        "cold_weights_per_mb": refill.p10 if refill else None,
        "canary_spread": table.canary_spread,
        "calibration": asdict(calibration) if calibration.networks else None,
        "energy": describe_energy(table),
        "warnings": list(table.warnings),
        "layers": [
            {"layer": str(shape), **asdict(entry)}
            for shape, entry in sorted(table.entries.items(), key=lambda row: -row[1].p10)
            if shape not in NOT_LAYERS
        ],
    }

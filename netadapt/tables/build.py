"""Lookup tables for networks: what to measure, and ``netadapt table``."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from netadapt.network import LayerShape, Network, Sizes, least_sizes, shrinkable
from netadapt.platforms import NOT_LAYERS, REFILL, Effort, LayerTimer, Progress
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.grid import plan_grid
from netadapt.tables.table import LookupTable

LAYERS = Effort(spread_s=2.0)
"""How layers are measured: those of a small network would be done in a moment, and a slow moment of
the machine would be in all of them."""


def wanted_shapes(
    table: LookupTable, network: Network, sizes: Sizes, multiple: int
) -> tuple[LayerShape, ...]:
    """What a table lacks to price the network at these sizes with any one group smaller."""
    complete = network.complete(sizes)
    return lacks(
        table,
        dict.fromkeys(
            network.shape_of(position, {**complete, group.id: size})
            for group in shrinkable(network)
            for size in group.smaller(complete[group.id], multiple)
            for position in network.mentions[group.id]
        ),
    )


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
    network: Network,
    sizes: Sizes,
    multiple: int,
    *,
    path: Path,
    progress: Progress | None = None,
    dense: bool = False,
    time_limit_s: float | None = None,
    others: Iterable[Sizes] = (),
) -> LookupTable:
    """A table that knows every layer that the next proposals may need; measures what it lacks.

    Args:
        table: what is known.
        platform: the device.
        network: the network at its full widths.
        sizes: present sizes of its groups.
        multiple: widths are multiples of it.
        path: where rows are kept as they come.
        progress: called as it proceeds.
        dense: measure each layer instead of a grid with interpolation between. A table that has
            rows and is not interpolated stays so.
        time_limit_s: stop after this long; what lowers the error most comes first. See
            :func:`lacks`.
        others: further sizes that the table is to price.
    """
    until_s = None if time_limit_s is None else time.monotonic() + time_limit_s

    def filled(table: LookupTable, shapes: Iterable[LayerShape]) -> LookupTable:
        left_s = None if until_s is None else until_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return table
        effort = replace(LAYERS, time_limit_s=left_s)
        return table.fill(platform, shapes, effort=effort, path=path, progress=progress)

    if table.interpolated or not (dense or table.entries):
        grid = plan_grid(network, multiple, table.info.block)
        table = filled(replace(table, interpolated=True), grid)
    # The network as it is, and the least one, must have prices before proposals are weighed. What
    # a grid does not reach, such as widths below a multiple, gets a row of its own.
    known = [
        shape
        for wanted in (sizes, least_sizes(network, multiple), *others)
        for shape in network.at(wanted)
    ]
    table = filled(table, lacks(table, known))
    if lacks(table, known):
        return table  # out of time
    return filled(table, wanted_shapes(table, network, sizes, multiple))


def lacks(table: LookupTable, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
    """The layers among these that a table has neither a row nor neighbours for."""
    return tuple(shape for shape in table.missing(shapes) if table.entry(shape) is None)


def describe_table(path: Path) -> dict[str, Any]:
    """What a table holds, costliest layers first, as plain JSON values."""
    table = LookupTable.load(path)
    refill, found = table.entries.get(REFILL), table.calibration
    layers = [
        {
            "layer": str(shape),
            "p10": entry.p10,
            "median": entry.median,
            "p90": entry.p90,
            "runs": entry.runs,
        }
        for shape, entry in sorted(table.entries.items(), key=lambda pair: -pair[1].p10)
        if shape not in NOT_LAYERS
    ]
    header = {
        **table.info.to_json(),
        "measured on": table.measured_on,
        "layers": len(layers),
        "call overhead": f"{table.overhead_s * 1e6:.1f} µs",
        "cold weights": f"{refill.p10 * 1e6:.1f} µs per MB" if refill else "not measured",
        "canary spread": f"{table.canary_spread:.1%}",
        "calibration": f"x {found.scale:.4f} at 1 ms, exponent {found.exponent:+.4f}, on "
        f"{found.networks}"
        if found.networks
        else "none",
    }
    return {"schema": 1, "header": header, "device": table.info.to_json(), "layers": layers}

"""What a run would do, for a person."""

from typing import TYPE_CHECKING

from netadapt.cli.text import table_text
from netadapt.units import cost_name, format_bytes, format_cost, format_share

if TYPE_CHECKING:
    from netadapt.dry_run import Preview

_PROPOSALS_SHOWN = 10


def preview_text(preview: "Preview") -> str:
    """A dry run as text."""
    return "\n\n".join([_bounds(preview), _proposals(preview), _times(preview)])


def _bounds(preview: "Preview") -> str:
    rows: list[tuple[str, ...]] = [("budget", "allowed", "unpruned", "of unpruned")]
    for bound in preview.bounds:
        limit, original = bound["limit"], bound["original"]
        shown = (format_cost(value, bound["unit"]) for value in (limit, original))
        name = cost_name(bound["key"], bound["unit"])
        rows.append((name, *shown, format_share(limit / original)))
    return table_text(rows, right=frozenset({1, 2, 3}))


def _proposals(preview: "Preview") -> str:
    rows = [("first proposals", "new sizes", "load")]
    for proposal in preview.proposals[:_PROPOSALS_SHOWN]:
        sizes = sorted(set(proposal["changes"].values()))
        span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        rows.append((proposal["name"], span, f"{proposal['load']:.3f}"))
    lines = [table_text(rows, right=frozenset({1, 2}))]
    more = len(preview.proposals) - _PROPOSALS_SHOWN
    if more > 0:
        lines.append(f"... and {more} more.")
    lines.append("A load of at most 1 reaches the targets of the first iteration.")
    if preview.stand_in:
        keys = ", ".join(preview.stand_in)
        lines.append(f"MACs stand in for {keys} here, as no table is measured yet.")
    return "\n".join(lines)


def _times(preview: "Preview") -> str:
    lines = [
        f"Lookup table of {table.device}: {table.rows} layers to measure"
        + (f", and the energy of {table.networks} networks." if table.networks else ".")
        for table in preview.tables
        if table.rows or table.networks
    ]
    lines.append(
        f"About {preview.iterations} iterations of {preview.trials} trials, about "
        f"{_duration(sum(preview.phases.values()))}: "
        + ", ".join(f"{name} {_duration(s)}" for name, s in preview.phases.items())
        + "."
    )
    lines.append(f"The run folder will hold about {format_bytes(preview.disk_bytes)}.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    """Such as ``2 h 05 min``, ``3 min`` or ``20 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"

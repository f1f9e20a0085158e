"""``netadapt table show``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from netadapt.cli.options import existing_file, json_option
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_quantity

_EPILOG = """\b
Examples:
  netadapt table show lookup_tables/mobilenet_v1.csv
  netadapt table show table.csv --json | jq .device
"""


@click.command(epilog=_EPILOG)
@click.argument("path", metavar="TABLE", type=existing_file())
@click.option(
    "--most",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Show so many of the costliest layers.",
)
@json_option
def show(path: Path, most: int, as_json: bool) -> None:
    """Show what a lookup table holds: its device, and its costliest layers."""
    from netadapt.tables.build import describe_table

    report = describe_table(path)
    if as_json:
        echo_json(report)
        return
    for name, value in heading(report).items():
        click.echo(f"{name + ':':<16} {value}")
    for line in energy_lines(report["energy"]):
        click.echo(line)
    rows = [("layer", "p10", "median", "p90", "runs")]
    for row in report["layers"][:most]:
        quantiles = (format_quantity(row[k], report["unit"]) for k in ("p10", "median", "p90"))
        rows.append((row["layer"], *quantiles, str(row["runs"])))
    click.echo("\n" + table_text(rows, right=frozenset({1, 2, 3, 4})))
    left = len(report["layers"]) - most
    if left > 0:
        click.echo(f"... and {left} more; --most shows them.")


def energy_lines(energy: Mapping[str, Any] | None) -> list[str]:
    """What a table says of energy, for a person; nothing if it says nothing."""
    if energy is None:
        return []
    rows = [("power of", "W by the table's time", "95 % interval")]
    for found in energy["classes"]:
        interval = f"{found['low']:.3g} to {found['high']:.3g}"
        rows.append((found["class"], f"{found['watts']:.3g}", interval))
    return [
        "",
        f"Energy: powers above an idle device, fitted to {energy['networks']} networks "
        f"({energy['windows']} windows each, read from {', '.join(energy['sensors'])}); "
        f"{energy['residual']:.1%} off on these.",
        "",
        table_text(rows, right=frozenset({1, 2})),
    ]


def heading(report: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a table as a whole, for a person."""
    unit, cold, fit = report["unit"], report["cold_weights_per_mb"], report["calibration"]
    return {
        **{name: str(value) for name, value in report["device"].items()},
        "measured on": report["measured_on"],
        "resource": report["resource"],
        "layers": str(len(report["layers"])),
        "call overhead": format_quantity(report["overhead"], unit),
        "cold weights": "not measured" if cold is None else f"{format_quantity(cold, unit)} per MB",
        "canary spread": f"{report['canary_spread']:.1%}",
        "calibration": f"x {fit['scale']:.4f} at {format_quantity(1e-3, unit)}, exponent "
        f"{fit['exponent']:+.4f}, on {fit['networks']}"
        if fit
        else "none",
    }

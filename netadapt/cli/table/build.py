"""``netadapt table build``."""

from pathlib import Path
from typing import Any

import click

from netadapt.cli.options import (
    Seconds,
    calibration_data_option,
    classes_option,
    json_option,
    model_options,
    platform_option,
    quiet_option,
    step_option,
)
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_quantity

_EPILOG = """\b
Examples:
  netadapt table build mobilenet_v2 -o v2.csv
  netadapt table build mobilenet_v1 -a width=0.5 --input-size 32 --on 'ort:cpu?threads=2' -o t.csv
  netadapt table build mobilenet_v2 --data photos/ --on 'ort:cpu?precision=int8' -o int8.csv
  netadapt table build mobilenet_v2 --resource energy --on 'ssh://me@nano?energy=auto' -o nano.csv
\b
Repeating a command that was interrupted, or ran out of time, continues it. Exit code 1: out of time
before the model itself had a price.
"""


@click.command(epilog=_EPILOG)
@model_options
@classes_option
@calibration_data_option
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table (.csv); one that exists gets what it lacks.",
)
@step_option
@click.option(
    "--dense", is_flag=True, help="Measure each layer shape, instead of a grid to interpolate in."
)
@click.option(
    "--time-limit",
    type=Seconds(above=True),
    metavar="SECONDS",
    help="Stop measuring layers after this long; what lowers the error most comes first.",
)
@click.option(
    "--resource",
    type=click.Choice(["latency", "energy"]),
    default="latency",
    show_default=True,
    help="What to price; energy measures whole networks, on top of the latency of layers.",
)
@click.option(
    "--networks",
    type=click.IntRange(4),
    default=30,
    show_default=True,
    help="Networks whose energy is measured.",
)
@platform_option
@quiet_option
@json_option
def build(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, data: str | None, out: Path, multiple: int | None,
    dense: bool, time_limit: float | None, resource: str, networks: int, platform: str,
    quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Measure every layer shape that adapting MODEL may ask for, and calibrate the table."""
    from netadapt.assembly import Source
    from netadapt.cli.console import Console
    from netadapt.cli.table.show import energy_lines
    from netadapt.table import Building, build_table

    with Console(quiet=quiet) as console:
        report = build_table(
            Source(model, dict(model_args), weights, input_size, classes, data), out,
            platform_uri=platform,
            how=Building(multiple or 0, dense, time_limit, resource, networks),
            counter=console.counter,
        )  # fmt: skip
    if as_json:
        echo_json(report)
        return 1 if report["lacking"] else 0
    click.echo(
        f"{out}: {report['entries']} rows ({report['measured']} measured now), "
        f"{report['device']['precision']}, on {report['device']['device']}."
    )
    if report["lacking"]:
        click.echo(
            f"Out of time: {report['lacking']} layers of the model itself have no price yet. "
            "Repeat the command to go on.", err=True,
        )  # fmt: skip
        return 1
    rows = [("width", "measured", "noise", "by the table", "off")]
    for row in report["calibration"]:
        measured, predicted = row["measured"], row["predicted"]
        rows.append(
            (row["width"], format_quantity(measured, report["unit"]), f"{row['noise']:.1%}",
             format_quantity(predicted, report["unit"]), f"{predicted / measured - 1:+.1%}")
        )  # fmt: skip
    click.echo(
        f"{'Fitted to' if resource == 'energy' else 'Calibrated on'} whole networks:\n\n"
        + table_text(rows, right=frozenset({1, 2, 3, 4}))
    )
    for line in energy_lines(report["energy"]):
        click.echo(line)
    if report["residue"]:
        click.echo(f"Layers that no table prices: {', '.join(report['residue'])}.")
    for warning in report["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    return 0

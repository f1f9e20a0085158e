"""``netadapt table``: build and show lookup tables."""

from pathlib import Path
from typing import Any

import click

from netadapt.cli.console import Console, echo_json, table_text
from netadapt.cli.options import (
    classes_option,
    existing_file,
    json_option,
    model_options,
    platform_option,
    quiet_option,
)
from netadapt.units import format_seconds


@click.group()
def table() -> None:
    """Lookup tables: what each layer costs on a device."""


_BUILD_EPILOG = """\b
Examples:
  netadapt table build mobilenet_v2 -o v2.csv
  netadapt table build mobilenet_v1 -a width=0.5 --input-size 32 --on 'ort:cpu?threads=2' -o t.csv
\b
Repeating a command that was interrupted continues it.
"""


@table.command(epilog=_BUILD_EPILOG)
@model_options
@classes_option
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table (.csv); one that exists gets what it lacks.",
)
@click.option(
    "--round-to",
    type=click.IntRange(1),
    metavar="CHANNELS",
    help="Widths are multiples of it.  [default: the device's block]",
)
@platform_option
@quiet_option
@json_option
def build(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, out: Path, round_to: int | None, platform: str,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure every layer shape that adapting MODEL may ask for."""
    from netadapt.measuring import build_table

    with Console(quiet=quiet) as console:
        report = build_table(
            model, out, model_args=dict(model_args), weights=weights, input_size=input_size,
            num_classes=classes, platform_uri=platform, round_to=round_to or 0, notify=console,
        )  # fmt: skip
    if as_json:
        echo_json(report)
        return
    click.echo(
        f"{out}: {report['entries']} layers ({report['measured']} measured now) on "
        f"{report['device']['device']}. The whole network is predicted at "
        f"{format_seconds(report['predicted_s'])} and measured at "
        f"{format_seconds(report['measured_s'])} (±{report['spread']:.1%})."
    )
    if report["residue"]:
        click.echo(f"Layers that no table prices: {', '.join(report['residue'])}.")


_BUNDLE_EPILOG = """\b
Examples:
  netadapt table bundle mobilenet_v2 -o to_phone
  netadapt table bundle mobilenet_v1 --on 'ort:xnnpack?threads=4' --round-to 16 -o to_board
\b
Then run run.sh in the folder on the device, bring results.jsonl back, and import it.
"""


@table.command(epilog=_BUNDLE_EPILOG)
@model_options
@classes_option
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="A new folder.",
)
@click.option(
    "--round-to",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="CHANNELS",
    help="Widths are multiples of it.",
)
@platform_option
@json_option
def bundle(
    model: str, model_args: tuple[tuple[str, Any], ...], weights: str | None,
    input_size: int | None, classes: int, out: Path, round_to: int, platform: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a folder that measures MODEL's layers on a device without SSH."""
    from netadapt.bundle import write_bundle

    report = write_bundle(
        model, out, model_args=dict(model_args), weights=weights, input_size=input_size,
        num_classes=classes, platform_uri=platform, round_to=round_to,
    )  # fmt: skip
    if as_json:
        echo_json(report)
        return
    click.echo(
        f"{out}: {report['models']} models for {report['layers']} layers. Copy it to the device "
        f"and run run.sh there; then 'netadapt table import {out} -o table.csv'."
    )


_IMPORT_EPILOG = """\b
Examples:
  netadapt table import to_phone -o phone.csv
  netadapt table import to_phone -o phone.csv && netadapt table show phone.csv
"""


@table.command("import", epilog=_IMPORT_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The table (.csv).",
)
@json_option
def import_(folder: Path, out: Path, as_json: bool) -> None:  # fmt: skip
    """Make a lookup table of the results in a bundle's FOLDER."""
    from netadapt.bundle import read_bundle

    report = read_bundle(folder, out)
    if as_json:
        echo_json(report)
        return
    click.echo(f"{out}: {report['entries']} layers on {report['device']['device']}.")
    for sentence in report["remarks"]:
        click.echo(f"Warning: {sentence}", err=True)


_SHOW_EPILOG = """\b
Examples:
  netadapt table show lookup_tables/mobilenet_v1.csv
  netadapt table show table.csv --json | jq .device
"""


@table.command(epilog=_SHOW_EPILOG)
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
    from netadapt.tabling import describe_table

    report = describe_table(path)
    if as_json:
        echo_json(report)
        return
    for name, value in report["header"].items():
        click.echo(f"{name + ':':<16} {value}")
    rows = [("layer", "p10", "median", "p90", "runs")]
    for row in report["layers"][:most]:
        rows.append(
            (row["layer"], *(format_seconds(row[k]) for k in ("p10_s", "median_s", "p90_s")),
             str(row["runs"]))
        )  # fmt: skip
    click.echo("\n" + table_text(rows, right=frozenset({1, 2, 3, 4})))
    left = len(report["layers"]) - most
    if left > 0:
        click.echo(f"... and {left} more; --most shows them.")

"""``netadapt table bundle``."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from netadapt.cli.options import (
    calibration_data_option,
    classes_option,
    json_option,
    model_options,
    platform_option,
)
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt table bundle mobilenet_v2 -o to_phone
  netadapt table bundle mobilenet_v1 --on 'ort:xnnpack?threads=4' --multiple 16 -o to_board
\b
Then run run.sh in the folder on the device, bring results.jsonl back, and import it.
"""


@click.command(epilog=_EPILOG)
@model_options
@classes_option
@calibration_data_option
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="A new folder.",
)
@click.option(
    "--multiple",
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
    input_size: int | None, classes: int, data: str | None, out: Path, multiple: int,
    platform: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a folder that measures MODEL's layers on a device without SSH."""
    from netadapt.assembly import Source
    from netadapt.table import bundle_table

    with redirect_stdout(sys.stderr):
        report = bundle_table(
            Source(model, dict(model_args), weights, input_size, classes, data), out,
            platform_uri=platform, multiple=multiple,
        )  # fmt: skip
    if as_json:
        echo_json(report)
        return
    click.echo(
        f"{out}: {report['models']} models for {report['layers']} layers. Copy it to the device "
        f"and run run.sh there; then 'netadapt table import {out} -o table.csv'."
    )

"""``netadapt export``."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import json_option
from netadapt.cli.text import echo_json, table_text
from netadapt.units import format_bytes

_EPILOG = """\b
Examples:
  netadapt export runs/mobilenet_v1-digits-60pct
  netadapt export runs/mobilenet_v1-digits-60pct --step 3 --out smaller-cut/
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@click.option(
    "--step",
    type=click.IntRange(0),
    help="Write the network of this iteration, without a long fine-tune.  "
    "[default: the result, or the last step of an unfinished run]",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.  [default: the run folder]",
)
@json_option
def export(run: Path, step: int | None, out: Path | None, as_json: bool) -> None:
    """Write a run's network as ONNX, .pt2, and a state dict with a loader that needs torch alone.

    Every step of a run is a network of its own trade-off between accuracy and cost.
    """
    from netadapt.export_run import export_run

    with redirect_stdout(sys.stderr):
        written = export_run(run, out or run, step=step)
    if as_json:
        echo_json(written)
        return
    rows = [("file", "size")]
    rows += [(str((out or run) / name), format_bytes(n)) for name, n in written["files"].items()]
    click.echo(table_text(rows, right=frozenset({1})))
    click.echo(
        f"\nChecked: ONNX Runtime differs from torch by {written['onnx_difference']:.1e} of the "
        "largest output."
    )

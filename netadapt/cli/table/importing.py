"""``netadapt table import``."""

from pathlib import Path

import click

from netadapt.cli.options import json_option
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt table import to_phone -o phone.csv
  netadapt table import to_phone -o phone.csv && netadapt table show phone.csv
"""


@click.command("import", epilog=_EPILOG)
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
    from netadapt.tables.bundle import read_bundle

    report = read_bundle(folder, out)
    if as_json:
        echo_json(report)
        return
    coverage = report["coverage"]
    click.echo(
        f"{out}: {report['entries']} of {report['wanted']} layers on "
        f"{report['device']['device']}; it prices {coverage['networks'] - coverage['refused']} of "
        f"{coverage['networks']} networks of random widths."
    )
    for sentence in report["remarks"]:
        click.echo(f"Warning: {sentence}", err=True)

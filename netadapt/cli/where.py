"""``netadapt where``."""

from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import json_option
from netadapt.cli.text import echo_json, table_text

_EPILOG = """\b
Examples:
  netadapt where runs/mobilenet_v1-digits-60pct
  netadapt where RUN --region POL --region SWE --region gcp:us-west1
  netadapt where RUN --region DEU --region 40g/kWh --watts 65 --pue 1.2
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="REGION",
    help="A place to compare. Repeatable.  [default: all countries]",
)
@click.option("--pue", type=float, metavar="X", help="The same everywhere.")
@click.option("--watts", metavar="W", help="Mean draw of the trainer: 65, or 50-80.")
@json_option
def where(
    run: Path, regions: tuple[str, ...], pue: float | None, watts: str | None, as_json: bool
) -> None:
    """Compare what RUN would emit in other places, the least first."""
    from netadapt.carbon.run import read_use
    from netadapt.carbon.where import places_for, table_rows

    places = places_for(read_use(run), regions, pue, watts)
    if as_json:
        echo_json([place.as_dict() for place in places])
        return
    click.echo(table_text(table_rows(places), right=frozenset({1, 3, 5})))

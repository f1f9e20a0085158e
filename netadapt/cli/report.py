"""``netadapt report``."""

from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import place_options

_EPILOG = """\b
Examples:
  netadapt report runs/mobilenet_v1-digits-60pct
  netadapt report RUN --region SWE --rate 20/s -o ~/report.html
\b
The page needs no network and can be sent as it is. A run writes one at its end; of an unfinished
run it tells how far it has come.
"""


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.  [default: RUN/report.html]",
)  # fmt: skip
@place_options
def report(
    run: Path, out: Path | None, region: str | None, deploy_region: str | None,
    pue: float | None, deploy_pue: float | None, watts: str | None, rate: str | None,
) -> None:  # fmt: skip
    """Write a page on RUN: what it reached, how, at what cost, and from what."""
    from netadapt.carbon.circumstances import read_circumstances
    from netadapt.report.page import write_report

    said = read_circumstances(region, deploy_region, pue, deploy_pue, watts, rate)
    click.echo(write_report(run, out, said))

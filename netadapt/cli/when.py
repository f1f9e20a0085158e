"""``netadapt when``."""

from pathlib import Path

import click

from netadapt.cli.options import existing_file, json_option
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt when --zone GB --hours 4
  netadapt when --zone US-CISO --hours 6 --json
  netadapt when --trace forecast.csv --hours 4
\b
A trace is a CSV file with the columns time (2026-01-31T00:00Z) and g_per_kwh, in steps of 5 to 60
minutes. Less than two days of it are taken for a forecast.
"""


@click.command(epilog=_EPILOG)
@click.option("--zone", metavar="ZONE", help="A grid with a daily profile: GB, US-CISO, GB-2019.")
@click.option(
    "--trace", type=existing_file(), help="Your own intensities as CSV, used in place of a profile."
)
@click.option("--hours", type=int, required=True, help="How long the run takes, 1 to 24.")
@json_option
def when(zone: str | None, trace: Path | None, hours: int, as_json: bool) -> None:
    """Tell at which hours electricity carries the least carbon, and what waiting for them saves."""
    from datetime import UTC, datetime

    from netadapt.carbon.markup import render_rows
    from netadapt.carbon.when import best_window

    window = best_window(zone, trace, hours, datetime.now(UTC).year)
    if as_json:
        echo_json(window.as_dict())
        return
    click.echo(render_rows(window.rows()), nl=False)
    for warning in window.warnings:
        click.echo(f"Note: {warning}", err=True)

"""``netadapt compare``."""

from pathlib import Path

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.text import table_text

_EPILOG = """\b
Examples:
  netadapt compare runs/one_group-* runs/uniform-*
  netadapt compare runs/a runs/b runs/c --resource macs -o compare.png
\b
All runs must be finished, and of one model, one data set and one device.
"""


@click.command(epilog=_EPILOG)
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...",
    type=RunFolder(),
)  # fmt: skip
@click.option(
    "--resource",
    default="latency",
    show_default=True,
    help="What accuracy is set against: latency, energy, size, macs or params.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it as .png, .csv or .html.",
)
def compare(runs: tuple[Path, ...], resource: str, out: Path | None) -> None:
    """Set the accuracy of finished RUNs against what they cost, and tell what the difference is."""
    from netadapt.compare import compare as run_compare
    from netadapt.compare import write_comparison
    from netadapt.report.comparison_views import rows_of
    from netadapt.report.differences import in_words

    comparison = run_compare(runs, resource)
    click.echo(table_text(rows_of(comparison), right=frozenset({2, 3, 4, 5})))
    click.echo("")
    for sentence in (*in_words(comparison), f"{comparison.setting}."):
        click.echo(sentence)
    if out is not None:
        click.echo(f"Written: {write_comparison(comparison, out)}")

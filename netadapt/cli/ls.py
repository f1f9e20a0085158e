"""``netadapt ls``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netadapt.cli.options import json_option
from netadapt.cli.text import echo_json, table_text
from netadapt.units import cost_name, format_metric, format_quantity

if TYPE_CHECKING:
    from netadapt.runs.summaries import BoundSummary


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"))
@json_option
def ls(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (default: runs), with what each has reached."""
    from netadapt.runs.summaries import list_runs

    summaries = list_runs(folder)
    if as_json:
        echo_json([summary.to_json() for summary in summaries])
        return
    if not summaries:
        click.echo(f"There are no runs in {folder}.")
        return
    rows = [("run", "state", "iterations", "cost", "of original", "budget", "metric", "left")]
    for run in summaries:
        metric = "-"
        if run.accuracy is not None:
            metric = f"{format_metric(run.accuracy, share=run.metric_is_share)} ({run.split})"
        head = (run.run, run.state, str(run.iterations))
        if not run.bounds:
            rows.append((*head, "-", "-", "-", metric, run.left or "-"))
        left = run.left
        for bound in run.bounds:
            rows.append(
                (*head, _cost(bound),
                 f"{bound.present / bound.original:.1%}", format_quantity(bound.limit, bound.unit),
                 metric, left)
            )  # fmt: skip
            head, metric, left = ("", "", ""), "", ""
    click.echo(table_text(rows, right=frozenset({2, 4, 5})))


def _cost(bound: "BoundSummary") -> str:
    """What it is and how much, naming it once."""
    quantity = format_quantity(bound.present, bound.unit)
    return f"{bound.key} {quantity}" if cost_name(bound.key, bound.unit) == bound.key else quantity

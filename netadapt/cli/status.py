"""``netadapt status``."""

import time
from pathlib import Path
from typing import Any

import click

from netadapt.cli.completion import RunFolder
from netadapt.cli.options import json_option
from netadapt.cli.text import echo_json

_EPILOG = """\b
Examples:
  netadapt status runs/mobilenet_v1-digits-60pct
  netadapt status RUN --watch
"""
_PERIOD_S = 2.0


@click.command(epilog=_EPILOG)
@click.argument("run", type=RunFolder())
@click.option("--watch", "-w", is_flag=True, help="Look again every 2 s until RUN is finished.")
@json_option
def status(run: Path, watch: bool, as_json: bool) -> None:
    """Tell how far RUN is, also while another process works on it."""
    rows, finished = _rows(run)
    if as_json:
        echo_json(dict(rows))
        return
    if not watch:
        click.echo("\n".join(f"{label:<24}{value}" for label, value in rows))
        return
    from rich.live import Live

    with Live(_table(rows), auto_refresh=False) as live:
        while not finished:
            time.sleep(_PERIOD_S)
            rows, finished = _rows(run)
            live.update(_table(rows), refresh=True)


def _rows(run: Path) -> tuple[list[tuple[str, str]], bool]:
    """What the journal tells, and whether the run has come to an end."""
    from netadapt.carbon.sofar import energy_so_far
    from netadapt.errors import UsageError
    from netadapt.runs import read_journal
    from netadapt.runs.watch import duration, watched

    records = read_journal(run)
    if not records:
        raise UsageError(f"{run} holds no run; name a folder with a journal.jsonl.")
    now_s, state = time.time(), watched(records)
    quiet = ("last line written", f"{duration(max(0.0, now_s - records[-1].time))} ago")
    drawn = ("energy drawn", energy_so_far(state))
    rows = [("run", str(run)), *state.rows(now_s), drawn, quiet]
    return rows, state.finished or bool(state.stopped)


def _table(rows: list[tuple[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for label, value in rows:
        table.add_row(Text(label), Text(value))
    return table

"""What a person sees while a run goes on: a line per event and a progress bar, on stderr."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from netadapt.units import format_count, format_metric, format_quantity

Event = dict[str, Any]


def echo_json(data: Any) -> None:
    """Print data for programs on stdout."""
    import json

    click.echo(json.dumps(data, indent=1))


def table_text(rows: Sequence[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> str:
    """Rows as aligned text; the first is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(rows[0]), line(tuple("-" * w for w in widths)), *map(line, rows[1:])])


class Console:
    """Shows events; use as a context manager.

    On a terminal the present activity has a progress bar. Elsewhere there are lines alone.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._unit = "s"
        self._original: float | None = None
        self._share = True
        self._trials = 0
        self._tried = 0
        self._bar: Any = None
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> "Console":
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"),
                TextColumn("of {task.total:.0f}"), TimeRemainingColumn(),
                console=RichConsole(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._quiet:
            return
        if event["event"] == "progress":
            self._progress(event["what"], event["done"], event["total"])
            return
        describe = _LINES.get(event["event"])
        text = describe(self, event) if describe else ""
        if text:
            self._line(text)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """A callback of (done, total) that shows how far something is."""

        def show(done: int, total: int) -> None:
            if not self._quiet:
                self._progress(what, done, total)

        return show

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def _progress(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            return
        if self._task is None or what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._what = self._bar.add_task(what, total=total), what
        self._bar.update(self._task, completed=done, total=total)
        if done >= total:
            self._bar.remove_task(self._task)
            self._task = None

    def cost(self, value: float) -> str:
        """A cost with its share of the original."""
        text = format_quantity(value, self._unit)
        if self._original:
            text += f" ({value / self._original:.1%})"
        return text


def _network(console: Console, event: Event) -> str:
    console._share = event["share"]
    fixed = f", {event['fixed']} fixed" if event["fixed"] else ""
    return (
        f"network   {event['groups']} channel groups can shrink{fixed}; "
        f"{format_count(event['params'])} parameters, {format_count(event['macs'])} MACs; "
        f"widths in multiples of {event['multiple']}"
    )


def _table(console: Console, event: Event) -> str:
    return (
        f"table     {event['measured']} layers measured in {event['seconds']:.1f} s "
        f"on {event['device']}"
    )


def _training(console: Console, event: Event) -> str:
    return f"train     no weights were given: training for {event['epochs']} epochs first"


def _finetuning(console: Console, event: Event) -> str:
    return f"finish    within the budget: fine-tuning for {event['epochs']} epochs"


def _iteration(console: Console, event: Event) -> str:
    console._trials, console._tried = event["trials"], 0
    console._progress(f"iteration {event['iteration']}", 0, event["trials"])
    return ""


def _candidate(console: Console, event: Event) -> str:
    console._tried += 1
    console._progress(f"iteration {event['iteration']}", console._tried, console._trials)
    return ""


def _step(console: Console, event: Event) -> str:
    holdout = f"holdout {format_metric(event['accuracy'], share=console._share)}"
    if event["iteration"] == 0:
        console._original = event["measured"]
        return f"step 0    unpruned: {console.cost(event['measured'])}, {holdout}"
    sizes = len(event["keep"].get(event["name"], ()))
    what = f"{event['name']} to {sizes}" if sizes else event["name"]
    short = "" if event["reaches"] else "; no group reached the target, this is as far as one goes"
    return (
        f"step {event['iteration']:<4} {what}: {console.cost(event['measured'])}, "
        f"aimed at {event['target'] / (console._original or 1):.1%}, "
        f"{holdout}{short}"
    )


_LINES: dict[str, Callable[[Console, Event], str]] = {
    "network": _network,
    "table": _table,
    "training": _training,
    "finetuning": _finetuning,
    "iteration": _iteration,
    "candidate": _candidate,
    "step": _step,
}

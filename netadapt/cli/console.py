"""What a person sees while a run goes on: a line per event and a progress bar, on stderr."""

import sys
from collections.abc import Callable
from typing import Any

import click

from netadapt.runs.events import (
    BoundSet,
    Event,
    IterationStarted,
    Progress,
    StepTaken,
    TableMeasured,
    Traced,
    Trained,
    Tried,
    Warned,
)
from netadapt.runs.step import Step, StepCost
from netadapt.units import format_count, format_metric, format_quantity


class Console:
    """Shows events; use as a context manager.

    On a terminal the present activity has a progress bar. Elsewhere there are lines alone.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bounds: dict[str, BoundSet] = {}
        self._share = True
        self._trials = 0
        self._tried = 0
        self._bar: Any = None
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> "Console":
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"),
                TextColumn("of {task.total:.0f}"), TimeRemainingColumn(),
                console=RichConsole(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event | Progress) -> None:
        """Show one event."""
        if self._quiet:
            return
        if isinstance(event, Progress):
            self._progress(event.what, event.done, event.total)
            return
        self._note(event)
        text = self._text(event)
        if text:
            self._line(text)

    def _note(self, event: Event) -> None:
        """Remember what later lines need."""
        if isinstance(event, Traced):
            self._share = event.metric_is_share
        elif isinstance(event, BoundSet):
            self._bounds[event.key] = event
        elif isinstance(event, IterationStarted):
            self._trials, self._tried = event.trials, 0
            self._progress(f"iteration {event.iteration}", 0, event.trials)
        elif isinstance(event, Tried):
            self._tried += 1
            self._progress(f"iteration {event.iteration}", self._tried, self._trials)

    def _text(self, event: Event) -> str:
        """One line about an event; empty for those that are not worth one."""
        if isinstance(event, Traced):
            return _network_text(event)
        if isinstance(event, TableMeasured):
            return (
                f"table     {event.rows} layers measured in {event.seconds:.1f} s on {event.device}"
            )
        if isinstance(event, Trained):
            return (
                f"trained   {event.what} network: {event.epochs:g} epochs in "
                f"{event.phase.seconds:.0f} s"
            )
        if isinstance(event, StepTaken):
            return self._step_text(event.step)
        return f"warning   {event.text}" if isinstance(event, Warned) else ""

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

    def _step_text(self, step: Step) -> str:
        costs = ", ".join(self._cost_text(key, cost, step) for key, cost in step.costs.items())
        holdout = f"holdout {format_metric(step.accuracy, share=self._share)}"
        if step.iteration == 0:
            return f"step 0    unpruned: {costs}, {holdout}"
        sizes = len(step.keep.get(step.name, ()))
        what = f"{step.name} to {sizes}" if sizes else step.name
        short = (
            "" if step.reaches else "; no proposal reached the target, this is as far as one goes"
        )
        return f"step {step.iteration:<4} {what}: {costs}, {holdout}{short}"

    def _cost_text(self, key: str, cost: StepCost, step: Step) -> str:
        """A cost with its share of the original, and what was aimed at."""
        bound = self._bounds[key]
        text = format_quantity(cost.measured, bound.unit)
        if len(self._bounds) > 1:
            text = f"{key} {text}"
        aimed = f", aimed at {cost.target / bound.original:.1%}" if step.iteration else ""
        return f"{text} ({cost.measured / bound.original:.1%}{aimed})"


def _network_text(event: Traced) -> str:
    able = [g for g in event.groups if not g.fixed]
    fixed = f", {len(event.groups) - len(able)} fixed" if len(able) < len(event.groups) else ""
    return (
        f"network   {len(able)} channel groups can shrink{fixed}; "
        f"{format_count(event.params)} parameters, {format_count(event.macs)} MACs; "
        f"widths in multiples of {event.multiple}"
    )

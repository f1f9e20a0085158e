"""A line for every event that is worth one."""

import math

from netadapt.runs.events import (
    BoundSet,
    CrossChecked,
    Event,
    Inherited,
    Measured,
    StepTaken,
    TableMeasured,
    Traced,
    Trained,
    Tried,
    Warned,
)
from netadapt.runs.step import Step, StepCost
from netadapt.units import cost_name, format_count, format_metric, format_quantity


class News:
    """Puts events in words, with what earlier ones told.

    Args:
        verbose: a line for every trial and measurement too.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._bounds: dict[str, BoundSet] = {}
        self._share = True

    def recall(self, event: Event) -> None:
        """Remember what later lines need."""
        if isinstance(event, Traced):
            self._share = event.metric_is_share
        elif isinstance(event, BoundSet):
            self._bounds[event.key] = event

    def text(self, event: Event) -> str:
        """One line about an event; empty for those that are not worth one."""
        self.recall(event)
        if isinstance(event, Tried | Measured):
            return self._detail(event) if self._verbose else ""
        return self._text(event)

    def _detail(self, event: Tried | Measured) -> str:
        if isinstance(event, Measured):
            texts = (
                f"{name} {format_quantity(reading['value'], reading.get('unit', 's'))}"
                for name, reading in event.readings.items()
            )
            return f"measured  {', '.join(texts)} on {event.device}"
        outcome = event.outcome
        how = "fine-tuned" if outcome.rung else "screened"
        score = outcome.failed or f"holdout {format_metric(outcome.accuracy, share=self._share)}"
        seconds = math.fsum(phase.seconds for phase in outcome.phases)
        return f"trial     {event.name}, {how}: {score} in {seconds:.1f} s"

    def _text(self, event: Event) -> str:
        if isinstance(event, Traced):
            return _network_text(event)
        if isinstance(event, TableMeasured):
            return (
                f"table     {event.rows} {event.what} measured in {event.seconds:.1f} s on "
                f"{event.device}"
            )
        if isinstance(event, Trained):
            plural = "" if event.epochs == 1 else "s"
            length = f"{event.epochs:g} epoch{plural} in {event.phase.seconds:.0f} s"
            return f"trained   {event.what} network: {length}"
        if isinstance(event, Inherited):
            return f"after     {event.run}, from its step {event.iteration} on"
        if isinstance(event, StepTaken):
            return self._step_text(event.step)
        if isinstance(event, CrossChecked):
            return (
                f"codecarbon {event.kwh * 1e3:.3g} Wh in {event.seconds:.0f} s, in {event.country}"
            )
        return f"warning   {event.text}" if isinstance(event, Warned) else ""

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
        near = ""
        if step.again:
            near = "; an earlier network again, as none nearer to the budget is better"
        elif step.origin is not None:
            near = f"; from step {step.origin} again, nearer to the budget"
        return f"step {step.iteration:<4} {what}: {costs}, {holdout}{short}{near}"

    def _cost_text(self, key: str, cost: StepCost, step: Step) -> str:
        """A cost with its share of the original, and what was aimed at."""
        bound = self._bounds.get(key)
        if bound is None:  # a continued run, of which the beginning was not told
            return f"{key} {cost.measured:.4g}"
        text = format_quantity(cost.measured, bound.unit)
        if len(self._bounds) > 1 and cost_name(key, bound.unit) == key:
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

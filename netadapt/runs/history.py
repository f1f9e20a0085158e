"""What the lines of a journal come to: the steps of a search, and the last event of a kind."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from netadapt.runs.events import Inherited, Record, StepTaken
from netadapt.runs.step import Step

T = TypeVar("T")


def steps_of(records: Sequence[Record]) -> list[Step]:
    """Every finished iteration, in order; a later record of an iteration replaces an earlier."""
    steps = {
        r.event.step.iteration: r.event.step for r in records if isinstance(r.event, StepTaken)
    }
    return [steps[iteration] for iteration in sorted(steps)]


def left_for_nearer(records: Sequence[Record]) -> Step | None:
    """The step that was left for one nearer to the budgets, as it would be taken again.

    None where none was, in this run, or where it was taken again.
    """
    inherited, steps = last(records, Inherited), steps_of(records)
    for far, near in zip(reversed(steps[:-1]), reversed(steps), strict=False):
        if near.again or (inherited is not None and near.iteration <= inherited.iteration):
            break
        if near.origin is not None:
            number = steps[-1].iteration + 1
            return replace(far, iteration=number, origin=near.origin, again=True)
    return None


def last(records: Sequence[Record], kind: type[T], **values: Any) -> T | None:
    """The last event of a kind with these values, if there is one."""
    for record in reversed(records):
        event = record.event
        if isinstance(event, kind) and all(getattr(event, k) == v for k, v in values.items()):
            return event
    return None

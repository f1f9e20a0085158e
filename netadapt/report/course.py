"""How the search went: iterations, predictions, and every trial."""

import math

from markupsafe import Markup

from netadapt.report.blocks import (
    Figures,
    Prose,
    Section,
    Table,
    clipped,
    thinned,
    thinned_note,
)
from netadapt.report.charts import Series, line_chart
from netadapt.report.facts import Facts
from netadapt.runs import Step
from netadapt.runs.events import BoundSet, Tried
from netadapt.units import format_metric, format_quantity

MOST_STEPS, MOST_TRIALS = 250, 1000
_NOTHING = Prose("No iteration is finished yet.")


def course(facts: Facts) -> Section:
    """Accuracy and each resource by iteration."""
    if not facts.steps:
        return Section("course", "Iterations", (_NOTHING,))
    shown = thinned(facts.steps, MOST_STEPS)
    keys = tuple(facts.bounds)
    head = ("iteration", "what shrank", *(f"{clipped(key)}, measured" for key in keys),
            *(f"{clipped(key)}, aimed at" for key in keys), "holdout")  # fmt: skip
    table = Table(
        "Every iteration",
        head,
        tuple(_step_row(facts, step) for step in shown),
        frozenset(range(2, len(head))),
        thinned_note(len(shown), len(facts.steps), "iterations"),
    )
    return Section("course", "Iterations", (Figures(_course_charts(facts)), table))


def _course_charts(facts: Facts) -> tuple[Markup, ...]:
    accuracy = Series("holdout images", tuple((s.iteration, s.accuracy) for s in facts.steps))
    title = f"{clipped(facts.metric)} by iteration"
    return (
        line_chart(title, [accuracy], lambda v: format_metric(v, share=facts.share)),
        *(_cost_chart(facts, bound) for bound in facts.bounds.values()),
    )


def _cost_chart(facts: Facts, bound: BoundSet) -> Markup:
    key, first, final = bound.key, facts.steps[0].iteration, facts.steps[-1].iteration
    measured = tuple((s.iteration, s.costs[key].measured) for s in facts.steps)
    aimed = tuple((s.iteration, s.costs[key].target) for s in facts.steps[1:])
    limit = ((first, bound.limit), (max(final, first + 1), bound.limit))
    return line_chart(
        f"{clipped(key)} by iteration",
        [Series("measured", measured), Series("aimed at", aimed, "second"),
         Series("budget", limit, "limit")],
        lambda v: format_quantity(v, bound.unit),
    )  # fmt: skip


def _step_row(facts: Facts, step: Step) -> tuple[str, ...]:
    bounds = facts.bounds.values()
    size = len(step.keep.get(step.name, ()))
    what = "unpruned" if not step.iteration else clipped(step.name)
    what += f" to {size}" if size else ""
    what += "" if step.reaches else " (no proposal reached the target)"
    if step.again:
        what += " (an earlier network again, as none nearer to the budget is better)"
    elif step.origin is not None:
        what += f" (from iteration {step.origin}, nearer to the budget)"
    measured = (format_quantity(step.costs[b.key].measured, b.unit) for b in bounds)
    aimed = (
        format_quantity(step.costs[b.key].target, b.unit) if step.iteration else ""
        for b in bounds
    )  # fmt: skip
    holdout = format_metric(step.accuracy, share=facts.share)
    return (str(step.iteration), what, *measured, *aimed, holdout)


def predictions(facts: Facts) -> Section:
    """What steered against what was measured."""
    title = "Predicted against measured"
    if len(facts.steps) < 2:
        return Section("predictions", title, (_NOTHING,))
    charts, tables = [], []
    for bound in facts.bounds.values():
        errors = [_errors(facts, step, bound.key) for step in facts.steps[1:]]
        charts.append(_error_chart(bound, facts, errors))
        tables.append(_error_table(bound, facts, errors))
    words = Prose(
        "A table or a model steers the search, and the device decides. Each iteration's "
        "measurement corrects prices by class of layer and rescales the next predictions; scaled "
        "on the unpruned network alone, they would have been off by the other figure."
    )
    return Section("predictions", title, (words, Figures(tuple(charts)), *tables))


def _errors(facts: Facts, step: Step, key: str) -> tuple[float, float]:
    """Relative error of a prediction: rescaled by the step before, and by the unpruned network."""
    cost, old = step.costs[key], facts.steps[step.parent]
    if cost.measured <= 0:
        return math.nan, math.nan
    rescaled, alone = old.costs[key].bias, facts.steps[0].costs[key].bias
    return tuple(cost.predicted * bias / cost.measured - 1 for bias in (rescaled, alone))  # type: ignore[return-value]


def _error_chart(bound: BoundSet, facts: Facts, errors: list[tuple[float, float]]) -> Markup:
    lines = [
        Series(
            label,
            tuple(
                (step.iteration, error[which])
                for step, error in zip(facts.steps[1:], errors, strict=True)
                if math.isfinite(error[which])
            ),
            kind,
        )
        for which, (label, kind) in enumerate(
            (("rescaled by each iteration", "first"), ("by the unpruned alone", "second"))
        )
    ]
    return line_chart(
        f"{clipped(bound.key)}: predicted over measured", lines, lambda v: f"{v:+.1%}", floor=0.0
    )


def _error_table(bound: BoundSet, facts: Facts, errors: list[tuple[float, float]]) -> Table:
    lines = thinned(tuple(zip(facts.steps[1:], errors, strict=True)), MOST_STEPS)
    first = facts.steps[0].costs[bound.key].bias
    rows = tuple(
        (str(step.iteration), format_quantity(step.costs[bound.key].predicted * first, bound.unit),
         format_quantity(step.costs[bound.key].measured, bound.unit),
         *(f"{value:+.1%}" if math.isfinite(value) else "-" for value in error))
        for step, error in lines
    )  # fmt: skip
    return Table(
        f"{clipped(bound.key)}, predicted and measured",
        ("iteration", "predicted (scaled on the unpruned)", "measured", "off, rescaled",
         "off, by the unpruned alone"),
        rows,
        frozenset({1, 2, 3, 4}),
        thinned_note(len(rows), len(errors), "iterations"),
        summary=f"{clipped(bound.key)}: every prediction",
    )  # fmt: skip


def trials(facts: Facts) -> Section:
    """Every trial of every iteration."""
    if not facts.trials:
        return Section("trials", "Trials", (Prose("Nothing has been tried yet."),))
    total = sum(map(len, facts.trials.values()))
    most = max(map(len, facts.trials.values()))
    shown = thinned(tuple(facts.trials), max(2, MOST_TRIALS // min(most, MOST_TRIALS // 2)))
    tables = [_trial_table(facts, iteration) for iteration in shown]
    rows = sum(len(table.rows) for table in tables)
    note = thinned_note(rows, total, "trials") or f"All {total} trials."
    return Section("trials", "Trials", (Prose(note), *tables))


def _trial_table(facts: Facts, iteration: int) -> Table:
    tried = thinned(facts.trials[iteration], MOST_TRIALS // 2)
    step = next((s for s in facts.steps if s.iteration == iteration), None)
    step = None if step is None or step.again else step  # none of these trials was kept
    kept = None if step is None else _kept(facts.trials[iteration], step)
    keys = tuple(facts.bounds)
    head = ("what shrinks", "to", *(f"{clipped(k)}, predicted" for k in keys), "how", "holdout",
            "seconds", "outcome")  # fmt: skip
    winner = "" if step is None else f", kept: {clipped(step.name, 80)}"
    return Table(
        f"Trials of iteration {iteration}",
        head,
        tuple(_trial_row(facts, trial, trial is kept) for trial in tried),
        frozenset({*range(2, 2 + len(keys)), 3 + len(keys), 4 + len(keys)}),
        summary=f"Iteration {iteration}: {len(facts.trials[iteration])} trials{winner}",
    )


def _kept(tried: tuple[Tried, ...], step: Step) -> Tried | None:
    """The trial that the step came from: of the highest rung, with what the step keeps."""
    same = [t for t in tried if not t.outcome.failed and dict(t.outcome.keep) == dict(step.keep)]
    return max(same, key=lambda t: t.outcome.rung, default=None)


def _trial_row(facts: Facts, trial: Tried, kept: bool) -> tuple[str, ...]:
    outcome, sizes = trial.outcome, list(trial.changes.values())
    to = ", ".join(map(str, sizes[:4])) + (f" and {len(sizes) - 4} more" if sizes[4:] else "")
    predicted = (
        format_quantity(trial.predicted[key], bound.unit) if key in trial.predicted else "-"
        for key, bound in facts.bounds.items()
    )
    failed = bool(outcome.failed)
    return (
        clipped(trial.name, 120),
        to,
        *predicted,
        ("screened" if outcome.rung == 0 else "fine-tuned")
        + (f", scored on {outcome.images} images" if outcome.images else ""),
        "-" if failed else format_metric(outcome.accuracy, share=facts.share),
        f"{math.fsum(phase.seconds for phase in outcome.phases):.2f}",
        clipped(outcome.failed, 120) if failed else "kept" if kept else "",
    )

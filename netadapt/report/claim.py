"""The first section: what the run achieved, with its spread, and what reproduces it."""

import math

from netadapt.report.blocks import Prose, Section, Table, clipped
from netadapt.report.facts import Facts
from netadapt.runs.events import BoundSet, Finished
from netadapt.units import (
    cost_name,
    format_bytes,
    format_cost,
    format_count,
    format_metric,
    format_share,
)

_Z95 = 1.959964
_COUNTED = (
    ("MACs", "macs", format_count),
    ("parameters", "params", format_count),
    ("ONNX file", "onnx_bytes", format_bytes),
)


def claim(facts: Facts) -> Section:
    """What was reached, or how far an unfinished run has come."""
    blocks: list[Prose | Table] = [Prose(_headline(facts), "lead")]
    if facts.finished is not None:
        blocks.append(_result_table(facts, facts.finished))
    command = facts.started.command
    if command:
        blocks += [Prose("The command that made it:"), Prose(clipped(command, 2000), "code")]
    else:
        blocks.append(Prose("It was made from Python; the settings are under Provenance."))
    return Section("claim", "What was reached", tuple(blocks))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent yes-or-no answers (Wilson 1927)."""
    square = _Z95**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _Z95 / (1 + square) * math.sqrt(share * (1 - share) / count + square / count / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _headline(facts: Facts) -> str:
    if facts.finished is None:
        return _unfinished(facts)
    before, after = facts.finished.before, facts.finished.after
    parts = [
        f"{clipped(cost_name(key, bound.unit))} went from "
        f"{format_cost(before.costs[key], bound.unit)} to "
        f"{format_cost(after.costs[key], bound.unit)} "
        f"({after.costs[key] / before.costs[key]:.1%})"
        for key, bound in facts.bounds.items()
    ]
    metric = f"{clipped(facts.metric)} on test images from {_metric(facts, before.accuracy)} to "
    met = "Every budget is met, as measured." if facts.finished.met else "NOT every budget is met."
    return f"In this run, {'; '.join(parts)}; {metric}{_metric(facts, after.accuracy)}. {met}"


def _unfinished(facts: Facts) -> str:
    state = "This run is unfinished."
    if facts.stopped:
        state = f"This run ended short of its budgets. {clipped(facts.stopped, 1000)}"
    if not facts.steps:
        return f"{state} The unpruned network was not scored yet."
    step = facts.steps[-1]
    parts = [
        f"{clipped(cost_name(key, bound.unit))} is "
        f"{format_cost(step.costs[key].measured, bound.unit)}, "
        f"{format_share(step.costs[key].measured / bound.original)} of the original, and the "
        f"budget is {format_share(bound.limit / bound.original)}"
        for key, bound in facts.bounds.items()
    ]
    plural = "" if step.iteration == 1 else "s"
    return (
        f"{state} After {step.iteration} iteration{plural}, {'; '.join(parts)}; "
        f"{clipped(facts.metric)} is {_metric(facts, step.accuracy)} on holdout images."
    )


def _metric(facts: Facts, value: float) -> str:
    return format_metric(value, share=facts.share)


def _result_table(facts: Facts, finished: Finished) -> Table:
    rows = [_cost_row(finished, bound) for bound in facts.bounds.values()]
    rows.append(_accuracy_row(facts, finished))
    bounded = {bound.resource for bound in facts.bounds.values()}
    for name, field, show in _COUNTED:
        if {"macs": "macs", "params": "params", "onnx_bytes": "size"}[field] not in bounded:
            old, new = getattr(finished.before, field), getattr(finished.after, field)
            rows.append((name, show(old), show(new), f"{new / old if old else 1:.1%}", ""))
    return Table(
        "The network before and after",
        ("", "before", "after", "after / before", "budget"),
        tuple(rows),
        frozenset({1, 2, 3, 4}),
        _result_note(facts),
    )


def _result_note(facts: Facts) -> str:
    devices = facts.finished.devices if facts.finished else {}
    modelled = {name for name, words in devices.items() if words.startswith("modelled")}
    measured = [b for b in facts.bounds.values() if b.device and b.device not in modelled]
    note = ""
    if facts.finished and facts.finished.after.uncertainties:
        note += (
            "Time is the 10th percentile of the unpruned network's runs, and that times the ratio "
            "of runs side by side; ± is half of its 95 % interval, in points. "
        )
    elif any(bound.resource in ("latency", "energy") for bound in measured):
        note += "± is the interquartile range of the measurement over its median. "
        if any(bound.resource == "latency" for bound in measured):
            note += "Time is the 10th percentile. "
    note += "Test images took no part in any choice."
    if _counts_images(facts):
        note += " The interval of the accuracy is Wilson's, 95 %, for that many test images."
    return note


def _cost_row(finished: Finished, bound: BoundSet) -> tuple[str, ...]:
    before, after, key = finished.before, finished.after, bound.key
    known = after.uncertainties.get(key)

    def text(value: float, spread: float) -> str:
        quantity = format_cost(value, bound.unit)
        return f"{quantity} ±{spread:.1%}" if spread and not known else quantity

    ratio = after.costs[key] / before.costs[key]
    modelled = finished.devices.get(bound.device, "").startswith("modelled")
    counted = bound.resource not in ("latency", "energy")
    how = "" if counted else ", modelled" if modelled else ", measured"
    within = "within" if after.costs[key] <= bound.limit else "ABOVE"
    return (
        f"{clipped(cost_name(key, bound.unit))}{how}",
        text(before.costs[key], before.spreads.get(key, 0.0)),
        text(after.costs[key], after.spreads.get(key, 0.0)),
        f"{ratio:.1%} ±{100 * ratio * known:.1f}" if known else f"{ratio:.1%}",
        f"{within} {format_cost(bound.limit, bound.unit)}",
    )


def _counts_images(facts: Facts) -> bool:
    """Whether the metric is the share of images that are told right."""
    images = facts.traced.images.get("test", 0) if facts.traced else 0
    return facts.share and images > 0 and "accuracy" in facts.metric


def _accuracy_row(facts: Facts, finished: Finished) -> tuple[str, ...]:
    def text(value: float, spread: float, chips: int) -> str:
        words = _metric(facts, value)
        if chips > 1:
            return f"{words} ±{_metric(facts, spread)} between {chips} chips"
        if not _counts_images(facts) or facts.traced is None or not 0 <= value <= 1:
            return words
        low, high = wilson(value, facts.traced.images["test"])
        return f"{words} ({low:.1%} to {high:.1%})"

    before, after = finished.before, finished.after
    change = after.accuracy - before.accuracy
    return (
        f"test {clipped(facts.metric)}",
        text(before.accuracy, before.accuracy_spread, before.chips),
        text(after.accuracy, after.accuracy_spread, after.chips),
        f"{change * 100:+.2f} points" if facts.share else f"{change:+.4g}",
        "",
    )

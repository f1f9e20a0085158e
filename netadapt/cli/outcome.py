"""The result of a run, for a person."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from netadapt.cli.text import table_text
from netadapt.units import cost_name, format_bytes, format_cost, format_count, format_metric

if TYPE_CHECKING:
    from netadapt.adapt import Result
    from netadapt.runs.events import BoundSet, Figures


def result_text(result: "Result") -> str:
    """What was reached, at what cost, and where it is."""
    finished = result.finished
    rows: list[tuple[str, ...]] = [("", "before", "after", "after/before")]
    rows += [_cost_row(result, bound) for bound in result.bounds]
    rows += [_accuracy_row(result), *_counted_rows(result)]
    lines = ["", table_text(rows, right=frozenset({1, 2, 3})), ""]
    lines += [_verdict(result, bound) for bound in result.bounds]
    lines += [f"{name}: {words}." for name, words in finished.devices.items()]
    lines += _notes(result)
    return "\n".join(lines)


def family_text(results: Sequence["Result"]) -> str:
    """The members of a family beside each other; each bound is told as a share of the original."""
    first = results[0].finished.before
    keys = [bound.key for bound in results[0].bounds]
    share = results[0].metric_is_share
    metric = f"test {results[0].metric}"
    rows: list[tuple[str, ...]] = [("run", *keys, metric, "MACs", "parameters")]
    plain = ("unpruned", *("100%" for _ in keys), format_metric(first.accuracy, share=share),
             format_count(first.macs), format_count(first.params))  # fmt: skip
    rows.append(plain)
    for result in results:
        after = result.finished.after
        shares = (f"{after.costs[key] / result.finished.before.costs[key]:.1%}" for key in keys)
        rows.append(
            (str(result.folder), *shares, format_metric(after.accuracy, share=share),
             format_count(after.macs), format_count(after.params))
        )  # fmt: skip
    return "\n" + table_text(rows, right=frozenset(range(1, len(rows[0]))))


def _cost_row(result: "Result", bound: "BoundSet") -> tuple[str, ...]:
    before, after = result.finished.before, result.finished.after
    counted = bound.resource not in ("latency", "energy")
    modelled = result.finished.devices.get(bound.device, "").startswith("modelled")

    known = after.uncertainties.get(bound.key)

    def text(value: float, spread: float) -> str:
        quantity = format_cost(value, bound.unit)
        return quantity if counted or modelled or known else f"{quantity} ±{spread:.1%}"

    old, new = before.costs[bound.key], after.costs[bound.key]
    ratio = f"{new / old:.1%}"
    return (
        cost_name(bound.key, bound.unit)
        + ("" if counted else ", modelled" if modelled else ", measured"),
        text(old, before.spreads[bound.key]),
        text(new, after.spreads[bound.key]),
        f"{ratio} ±{100 * new / old * known:.1f}" if known else ratio,
    )


def _accuracy_row(result: "Result") -> tuple[str, ...]:
    before, after = result.finished.before, result.finished.after
    share, difference = result.metric_is_share, after.accuracy - before.accuracy

    def text(figures: "Figures") -> str:
        spread = format_metric(figures.accuracy_spread, share=share)
        metric = format_metric(figures.accuracy, share=share)
        return f"{metric} ±{spread}" if figures.chips > 1 else metric

    return (
        f"test {result.metric}" + (f", {after.chips} chips" if after.chips > 1 else ""),
        text(before),
        text(after),
        f"{difference * 100:+.2f} points" if share else f"{difference:+.4g}",
    )


def _counted_rows(result: "Result") -> list[tuple[str, ...]]:
    before, after = result.finished.before, result.finished.after
    bounded = {bound.resource for bound in result.bounds}

    def row(name: str, old: int, new: int, show: Callable[[float], str]) -> tuple[str, ...]:
        return name, show(old), show(new), f"{new / old if old else 1:.1%}"

    rows = {
        "macs": row("MACs", before.macs, after.macs, format_count),
        "params": row("parameters", before.params, after.params, format_count),
        "size": row("ONNX file", before.onnx_bytes, after.onnx_bytes, format_bytes),
    }
    return [cells for resource, cells in rows.items() if resource not in bounded]


def _verdict(result: "Result", bound: "BoundSet") -> str:
    after = result.finished.after.costs[bound.key]
    within = "within" if after <= bound.limit else "ABOVE"
    predicted = result.finished.predicted[bound.key]
    return (
        f"{cost_name(bound.key, bound.unit)}: {within} the budget of "
        f"{format_cost(bound.limit, bound.unit)}; what steered, scaled on the unpruned network, "
        f"predicted {format_cost(predicted, bound.unit)} ({predicted / after - 1:+.1%})."
    )


def _timing(uncertainties: Mapping[str, float]) -> str:
    if uncertainties:
        return (
            "Latency is the 10th percentile of the unpruned network's runs, and that times the "
            "ratio of runs side by side; ± is half of its 95 % interval, in points. "
        )
    return "Latency is the 10th percentile, ± its interquartile range. "


def _notes(result: "Result") -> list[str]:
    modelled = {name for name, d in result.finished.devices.items() if d.startswith("modelled")}
    timed = any(b.resource == "latency" and b.device not in modelled for b in result.bounds)
    notes = [
        _timing(result.finished.after.uncertainties) * timed
        + "Test images took no part in any choice.",
        f"The adapted network is in {result.folder}: adapted.onnx, adapted.pt2, and adapted.pt "
        "with load_adapted.py (needs torch alone).",
    ]
    if "int8" in result.finished.precisions.values():
        notes.append("adapted.int8.onnx, quantized after training, is what was measured in 8 bits.")
    return notes

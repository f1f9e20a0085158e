"""A comparison as CSV, as PNG, and as a page."""

import csv
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from netadapt.errors import UsageError
from netadapt.report.blocks import Bullets, Figures, Prose, Section, Table, clipped
from netadapt.report.charts import Across, Series, line_chart
from netadapt.report.comparison import Comparison, Entry, Line
from netadapt.report.differences import in_words
from netadapt.report.page import render_page
from netadapt.units import format_metric, format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = ("first", "second", "third", "fourth")
_COLORS = ("#0b5cad", "#b04a00", "#2d8659", "#8a4fa3")
_MARKERS, _DASHES = ("o", "s", "^", "D"), ("-", "--", "-.", ":")

CSV_BEGINS = (b"run,method,seed,",)


def as_csv(comparison: Comparison) -> bytes:
    """A row per run; costs in the base unit."""
    text, frontier = StringIO(), set(comparison.frontier)
    writer = csv.writer(text, lineterminator="\n")
    name = f"{comparison.resource}_{comparison.unit}"
    writer.writerow(["run", "method", "seed", name, "spread", "accuracy", f"original_{name}",
                     "original_accuracy", "frontier"])  # fmt: skip
    for e in comparison.entries:
        writer.writerow([e.run, e.method, e.seed, e.cost, e.spread, e.accuracy, *e.original,
                         int(e in frontier)])  # fmt: skip
    return text.getvalue().encode()


def rows_of(comparison: Comparison) -> list[tuple[str, ...]]:
    """A row per run in words, under a heading."""
    frontier = set(comparison.frontier)
    head = ("run", "method", "seed", comparison.resource, "of original", comparison.metric,
            "frontier")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for e in comparison.entries:
        rows.append(
            (clipped(e.run, 80), clipped(e.method, 120), str(e.seed), _cost_text(comparison, e),
             f"{e.cost / e.original[0]:.1%}", format_metric(e.accuracy, share=comparison.share),
             "yes" if e in frontier else "")
        )  # fmt: skip
    return rows


def _cost_text(comparison: Comparison, entry: Entry) -> str:
    spread = f" ±{entry.spread:.1%}" if entry.spread else ""
    return format_quantity(entry.cost, comparison.unit) + spread


def as_page(comparison: Comparison) -> bytes:
    """One self-contained HTML page."""
    head, *rows = rows_of(comparison)
    series = [
        Series(
            "" if number else clipped(_label(comparison, method), 80),
            line.points,
            _KINDS[i % len(_KINDS)],
            line.spreads,
        )
        for i, method in enumerate(comparison.methods)
        for number, line in enumerate(comparison.lines(method))
    ]
    frontier = tuple((entry.cost, entry.accuracy) for entry in comparison.frontier)
    series.append(Series("run on the frontier", frontier, "ring"))
    across = Across(comparison.resource, lambda v: format_quantity(v, comparison.unit))
    chart = line_chart(
        f"{clipped(comparison.metric)} over {comparison.resource}", series,
        lambda v: format_metric(v, share=comparison.share), across=across,
    )  # fmt: skip
    table = Table("Every run", head, tuple(rows), frozenset({2, 3, 4, 5}), _NOTE)
    sections = (
        Section("differences", "In words", (Bullets(in_words(comparison)),)),
        Section("runs", "Runs", (Figures((chart,)), table, Prose(clipped(comparison.setting)))),
    )
    return render_page("netadapt: comparison of runs", sections).encode()


_NOTE = (
    "Accuracy is of test images, costs were measured at the end of each run. A run is on the "
    "frontier if no other is at least as accurate at no more cost. The upper end of every line is "
    "the unpruned network. Points are means over seeds where there are several, and bars their "
    "standard deviation; circles are single runs."
)


def as_png(comparison: Comparison) -> bytes:
    """A picture; the mean over seeds with its standard deviation where there are several.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "Drawing needs matplotlib; install it with: pip install 'netadapt[plots]'"
        ) from None
    figure = Figure(figsize=(7.2, 4.8), layout="constrained", dpi=150)
    axes = figure.subplots()
    for i, method in enumerate(comparison.methods):
        style = {"color": _COLORS[i % 4], "marker": _MARKERS[i % 4], "linestyle": _DASHES[i % 4]}
        for number, line in enumerate(comparison.lines(method)):
            label = "" if number else clipped(_label(comparison, method), 60)
            _draw(axes, label, line, style)
    frontier = comparison.frontier
    axes.scatter([e.cost for e in frontier], [e.accuracy for e in frontier], 90, facecolors="none",
                 edgecolors="#555555", label="run on the frontier")  # fmt: skip
    axes.set_xlabel(comparison.resource)
    axes.set_ylabel(f"test {comparison.metric}")
    axes.xaxis.set_major_formatter(lambda v, _: format_quantity(v, comparison.unit))
    axes.yaxis.set_major_formatter(lambda v, _: format_metric(v, share=comparison.share))
    axes.set_title(clipped(comparison.setting, 110), fontsize=7, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    image = BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _label(comparison: Comparison, method: str) -> str:
    seeds = len(comparison.curves(method))
    return f"{method}, {seeds} seeds" if seeds > 1 else method


def _draw(axes: "Axes", label: str, line: Line, style: dict[str, Any]) -> None:
    """A line; bars are standard deviations."""
    x, y = zip(*line.points, strict=True)
    if not line.spreads:
        axes.plot(x, y, label=label, **style)
        return
    across, upwards = zip(*line.spreads, strict=True)
    axes.errorbar(x, y, upwards, across, label=label, capsize=3, **style)

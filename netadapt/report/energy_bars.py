"""A network's energy as stacked bars: one for each layer, by level and by kind of data."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from netadapt.errors import UsageError
from netadapt.platforms.accelerators.layer_energy import DATA
from netadapt.platforms.accelerators.report import EnergyReport
from netadapt.units import format_joules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = (
    "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#332288",
)  # fmt: skip
"""Paul Tol's bright palette, which the color-blind can tell apart, and one more."""


def energy_bars(report: EnergyReport) -> bytes:
    """Draw a report as PNG: above by level of the hardware, below by kind of data.

    Heights are shares of the network's energy for one image; the batch stands under every bar.

    Raises:
        UsageError: matplotlib is not installed, or the network has no layer with weights.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "Drawing needs matplotlib; install it with: pip install 'netadapt[plots]'"
        ) from None
    if not report.layers:
        raise UsageError(f"{report.model} has no layer with weights, so there is nothing to draw.")
    width = min(max(7.0, 2.6 + 0.34 * len(report.layers)), 60.0)
    figure = Figure(figsize=(width, 8.4), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, sharex=True)
    levels = tuple(dict.fromkeys(part.level for part in report.total.parts))
    _stack(above, report, levels, [[p.level for p in layer.parts] for layer in report.layers])
    _stack(below, report, DATA, [[p.data for p in layer.parts] for layer in report.layers])
    labels = [f"{name} (batch {report.batch})" for name in report.names]
    below.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    figure.suptitle(
        f"{report.model}: {format_joules(report.total.energy_j)} for one image, batch "
        f"{report.batch}\n{report.hardware}",
        fontsize=10,
    )
    image = BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _stack(
    axes: "Axes", report: EnergyReport, kinds: Sequence[str], kind_of: Sequence[Sequence[str]]
) -> None:
    """Draw one bar for each layer, a piece for each kind, in percent of the network's energy."""
    whole_j = report.total.energy_j
    bottoms = [0.0] * len(report.layers)
    for kind, color in zip(kinds, _COLORS * (1 + len(kinds) // len(_COLORS)), strict=False):
        heights = [
            100 / whole_j * sum(p.energy_j for p, k in zip(layer.parts, named, strict=True)
                                if k == kind)
            for layer, named in zip(report.layers, kind_of, strict=True)
        ]  # fmt: skip
        if any(heights):
            share = sum(heights)
            axes.bar(
                range(len(heights)), heights, 0.8, bottoms, color=color,
                label=f"{kind} {share:.0f}%",
            )  # fmt: skip
            bottoms = [b + h for b, h in zip(bottoms, heights, strict=True)]
    axes.set_ylabel("energy, % of the network")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)

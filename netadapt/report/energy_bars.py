"""A network's energy as stacked bars: one for each layer, by level and by kind of data."""

import textwrap
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING

from netadapt.errors import UsageError
from netadapt.platforms.accelerators.layer_energy import DATA
from netadapt.platforms.accelerators.report import EnergyReport
from netadapt.units import format_joules

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEVEL_COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")
_DATA_COLORS = ("#004488", "#ddaa33", "#bb5566", "#cccccc")
"""Paul Tol's bright and high-contrast palettes, which the color-blind can tell apart."""

_LETTERS_PER_INCH = 13  # of the title


def energy_bars(report: EnergyReport) -> bytes:
    """A report as PNG; see :func:`energy_figure`."""
    image = BytesIO()
    energy_figure(report).savefig(image, format="png")
    return image.getvalue()


def energy_figure(report: EnergyReport) -> "Figure":
    """Draw a report: above by level of the hardware, below by kind of data.

    Heights are shares of the network's energy for one image; the batch stands under every bar.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "Drawing needs matplotlib; install it with: pip install 'netadapt[plots]'"
        ) from None
    width = min(max(7.0, 2.6 + 0.34 * len(report.layers)), 60.0)
    figure = Figure(figsize=(width, 8.4), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, sharex=True)
    levels = tuple(dict.fromkeys(part.level for part in report.total.parts))
    _stack(above, report, dict(zip(levels, cycle(_LEVEL_COLORS), strict=False)), by_level=True)
    _stack(below, report, dict(zip(DATA, _DATA_COLORS, strict=True)), by_level=False)
    labels = [f"{name} (batch {report.batch})" for name in report.names]
    below.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    figure.suptitle(
        f"{report.model}: {format_joules(report.total.energy_j)} for one image, batch "
        f"{report.batch}\n{textwrap.fill(report.hardware, int(_LETTERS_PER_INCH * width))}",
        fontsize=10,
    )
    return figure


def _stack(axes: "Axes", report: EnergyReport, colors: dict[str, str], *, by_level: bool) -> None:
    """Draw one bar for each layer, a piece for each kind, in percent of the network's energy."""
    percent = 100 / report.total.energy_j
    bottoms = [0.0] * len(report.layers)
    for kind, color in colors.items():
        heights = [
            percent
            * sum(p.energy_j for p in layer.parts if kind == (p.level if by_level else p.data))
            for layer in report.layers
        ]
        if any(heights):
            label = f"{kind} {sum(heights):.2g}%"
            axes.bar(range(len(heights)), heights, 0.8, bottoms, color=color, label=label)
            bottoms = [b + h for b, h in zip(bottoms, heights, strict=True)]
    axes.set_ylabel("energy, % of the network")
    axes.set_title(f"by {'level' if by_level else 'kind of data'}", fontsize=9, loc="left")
    axes.margins(x=0.01)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
        fontsize=9,
    )  # fmt: skip

"""Plotting functions that several reproductions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mobilenets.reports.plots import ACCENT, INK, MUTED, color_cycle, figure_of, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of bars: one cost of several networks.

    Args:
        title: name of the cost, with its unit.
        here: our values.
        paper: the paper's values; None if it prints none.
        digits: decimals of the numbers at the bars.
    """

    title: str
    here: Sequence[float]
    paper: Sequence[float | None]
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Series:
    """A series of points.

    Args:
        name: name in the legend.
        x, y: coordinates.
        labels: labels of the points; empty for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    labels: Sequence[str] = ()


def bars(names: Sequence[str], panels: Sequence[Bars]) -> Figure:
    """A row of bar plots, with one bar per name from top to bottom; the paper's value is a mark on the bar."""
    figure, _ = figure_of(2.2 + 2.9 * len(panels), 1.3 + 0.38 * len(names), columns=len(panels))
    places = range(len(names), 0, -1)
    for i, (axes, panel) in enumerate(zip(figure.axes, panels, strict=True)):
        axes.barh(places, panel.here, height=0.6, color=ACCENT, alpha=0.55, label="here")
        printed = [(x, y) for x, y in zip(panel.paper, places, strict=True) if x is not None]
        if printed:
            axes.plot([x for x, _ in printed], [y for _, y in printed], "D", color=INK, markersize=5, label="paper")
        for value, paper, place in zip(panel.here, panel.paper, places, strict=True):
            text, beside = f"{value:,.{panel.digits}f}", max(value, paper or 0)
            axes.annotate(
                text, (beside, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED
            )
        axes.set_yticks(places, names if i == 0 else [""] * len(names))
        axes.set_xlim(0, 1.25 * max([*panel.here, *(x for x, _ in printed)]))
        axes.set_ylim(0.4, len(names) + 0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(panel.title)
        axes.locator_params(axis="x", nbins=4)
    for axes, panel in zip(figure.axes, panels, strict=True):
        if any(x is not None for x in panel.paper):
            legend_above(axes, 2)
            break
    return figure


def scatter(axes: Axes, series: Sequence[Series], *, x: str, y: str, log: bool = False) -> None:
    """Points by series.

    Args:
        axes: the axes to draw on.
        series: at most seven.
        x, y: labels of the axes.
        log: whether x is logarithmic.
    """
    for i, (one, color) in enumerate(zip(series, color_cycle(len(series)), strict=True)):
        axes.plot(one.x, one.y, MARKERS[i], color=color, markersize=5.5, label=one.name)
        for at, label in zip(zip(one.x, one.y, strict=True), one.labels, strict=False):
            axes.annotate(label, at, xytext=(5, 3), textcoords="offset points", fontsize=7, color=INK)
    if log:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, min(min(one.x) for one in series), max(max(one.x) for one in series))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def plain_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, written out, on a logarithmic axis from below `low` to above `high`."""
    from matplotlib.ticker import NullLocator

    ticks = [step * 10.0**power for power in range(-4, 9) for step in (1, 2, 5)]
    inside = [tick for tick in ticks if low / 1.6 <= tick <= high * 1.6]
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(inside, labels=[f"{tick:,g}" for tick in inside])


def line(axes: Axes, xs: Sequence[float], ys: Sequence[float], *, name: str = "") -> None:
    """A thin line through points, such as a fit or a front."""
    axes.plot(xs, ys, "-", color=MUTED, linewidth=1.2, label=name or None)

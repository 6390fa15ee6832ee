"""The plot of a benchmark: a quality figure against a cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mobilenets.reports.plots import INK, MUTED, color_cycle, figure_of, percent_scale, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CLOSE = (0.2, 0.05)  # of the plot's width and height: names closer than this would overlap


@dataclass(frozen=True, slots=True)
class Point:
    """One row.

    Args:
        name: the name beside the point.
        series: points of one series have one color.
        x, y: its coordinates.
        x_range, y_range: uncertainty of the coordinates, as an interval; None if unknown.
    """

    name: str
    series: str
    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


def pareto(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that no other point beats in both coordinates, by ascending x. Lower x is better.

    >>> points = [Point("a", "", 1, 0.5), Point("b", "", 2, 0.4), Point("c", "", 3, 0.9)]
    >>> [point.name for point in pareto(points, higher_is_better=True)]
    ['a', 'c']
    """
    sign = 1 if higher_is_better else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -sign * point.y)):
        if not front or sign * point.y > sign * front[-1].y:
            front.append(point)
    return front


def front(points: Sequence[Point], *, x: str, y: str, higher_is_better: bool, shares: bool = False) -> Figure:
    """The points with their ranges, and a line through those on the Pareto front.

    Args:
        points: at least one.
        x, y: titles of the axes.
        higher_is_better: whether higher y is better; lower x always is.
        shares: whether y is a share, 0 to 1.
    """
    figure, axes = figure_of(7.2, 4.6)
    series = list(dict.fromkeys(point.series for point in points))
    best = pareto(points, higher_is_better=higher_is_better)
    if len(best) > 1:  # a single point has no line
        across, up = [point.x for point in best], [point.y for point in best]
        axes.plot(across, up, "-", color=MUTED, linewidth=1.2, label="Pareto front")
    for i, (name, color) in enumerate(zip(series, color_cycle(len(series)), strict=True)):
        own = [point for point in points if point.series == name]
        marker = MARKERS[i % len(MARKERS)]
        across, up = [point.x for point in own], [point.y for point in own]
        axes.plot(across, up, marker, color=color, markersize=6, label=short(name, 48))
        for point in own:
            for low_high, along in ((point.x_range, "x"), (point.y_range, "y")):
                if low_high is not None:
                    xs = low_high if along == "x" else (point.x, point.x)
                    ys = low_high if along == "y" else (point.y, point.y)
                    axes.plot(xs, ys, "-", color=color, linewidth=1, alpha=0.6)
    for point in _apart(best, points):
        place = (point.x, point.y)
        axes.annotate(short(point.name, 32), place, xytext=(6, 4), textcoords="offset points", fontsize=7, color=INK)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.margins(x=0.15, y=0.15)
    axes.set_xlim(left=0)
    if shares:
        percent_scale(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="best")
    return figure


def _apart(best: Sequence[Point], points: Sequence[Point]) -> list[Point]:
    """The points whose names have enough room, those on the front first."""
    width = max(point.x for point in points) or 1.0  # the axis begins at 0
    height = (max(point.y for point in points) - min(point.y for point in points)) or 1.0
    named: list[Point] = []
    for point in (*best, *points):
        if all(abs(point.x - other.x) / width > CLOSE[0] or abs(point.y - other.y) / height > CLOSE[1] for other in named):
            named.append(point)
    return named

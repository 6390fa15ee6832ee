"""ReLU on a spiral that is embedded in n dimensions and projected back (V2, Figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilenets.reports.plots import ACCENT, AMBER, LINE, MUTED, figure_of, legend_above
from mobilenets.science.entry import Asked, Comparison, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

DIMENSIONS = (2, 3, 5, 15, 30)
"""n, as in the figure."""
FINER = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30)
POINTS, TURNS = 400, 3
COLUMNS = ("n", "chance", "lost", "lost_low", "lost_high", "unexplained", "unexplained_low", "unexplained_high", "repeats")
Row = tuple[int, float, float, float, float, float, float, float, int]


def figure_1(asked: Asked) -> Result:
    """The spiral before and after, and what is lost over n, for many random embeddings."""
    points = spiral()
    rows = measured(DIMENSIONS, asked)
    source = "V2, Lemma 2, for random rows: (n + 1) / 2ⁿ"
    comparisons = tuple(Comparison(f"points lost, n = {row[0]}", 100 * row[1], 100 * row[2], "%", source) for row in rows)
    low, high = rows[1], rows[3]
    falls = all(after[2] <= before[2] for before, after in pairwise(rows))
    less = "less" if all(after[2] < before[2] for before, after in pairwise(rows)) else "as much or less"
    findings = (
        f"With n = {low[0]}, ReLU makes {low[2]:.0%} of the spiral's points unrecoverable; with n = {high[0]}, "
        f"{high[2]:.2%}. From each n to the next, {less} is lost{'' if falls else ', with exceptions'}.",
        f"The best affine map from the n outputs back to the spiral misses {rows[0][5]:.0%} of the spiral's variance at "
        f"n = {rows[0][0]}, {rows[1][5]:.0%} at n = {rows[1][0]} and {rows[-1][5]:.2%} at n = {rows[-1][0]}, on average.",
    )
    return Result(
        COLUMNS,
        rows,
        _drawn(points),
        "Top: the spiral, and T⁺ReLU(Tx) for one random matrix T with n rows. Bottom: the same points, orange where ReLU "
        "leaves fewer than two independent positive outputs, so the point cannot be recovered.",
        comparisons,
        findings,
    )


def lost_information(asked: Asked) -> Result:
    """What ReLU loses of the spiral, over n."""
    rows = measured(FINER, asked)
    ns = [row[0] for row in rows]
    figure, _ = figure_of(9.6, 3.8, columns=2)
    left, right = figure.axes
    left.plot(ns, [100 * row[1] for row in rows], "-", color=MUTED, label="Lemma 2, for random rows")
    for axes, column, name in ((left, 2, "points that nothing can recover"), (right, 5, "missed by the best affine map back")):
        axes.fill_between(ns, [100 * row[column + 1] for row in rows], [100 * row[column + 2] for row in rows], color=LINE)
        axes.plot(ns, [100 * row[column] for row in rows], "o", color=ACCENT, label=name)
        axes.set_xlabel("n, dimensions that the spiral is embedded in")
        axes.set_ylabel("points, %" if axes is left else "variance, %")
        legend_above(axes, 1)
    half = next((row[0] for row in rows if row[2] < 0.01), None)
    comparisons = tuple(
        Comparison(f"points lost, n = {row[0]}", 100 * row[1], 100 * row[2], "%", "V2, Lemma 2, for random rows: (n + 1) / 2ⁿ")
        for row in rows
    )
    findings = (
        f"From n = {half} on, less than 1% of the points are lost."
        if half is not None
        else "More than 1% of the points are lost at every n.",
    )
    caption = (
        f"Dots: the mean over {asked.repeats} random matrices; gray: the middle 90% of them. Left: points with fewer than "
        "two independent positive outputs. Right: what a linear layer cannot recover."
    )
    return Result(COLUMNS, rows, figure, caption, comparisons, findings)


def measured(dimensions: Sequence[int], asked: Asked) -> list[Row]:
    """For each n: the chance that a point is lost, and what is lost, with `COLUMNS`."""
    points = spiral()
    rows = []
    with asked.telling.progress("embedding", len(dimensions) * asked.repeats) as advance:
        for n in dimensions:
            losses = []
            for seed in range(asked.repeats):
                t = embedding(n, seed)
                losses.append((lost(points, t), unexplained(points, t)))
                advance(1)
            points_lost, error = np.array(losses).T
            rows.append((n, expected(n), *_spread(points_lost), *_spread(error), asked.repeats))
    return rows


def spiral() -> Floats:
    """Points of a spiral around the origin, POINTS 2."""
    angle = np.linspace(0.5, TURNS * 2 * np.pi, POINTS)
    return np.asarray((angle / angle[-1])[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def embedding(n: int, seed: int) -> Floats:
    """A random matrix T, n 2."""
    return np.random.default_rng((n, seed)).normal(size=(n, 2))


def projected_back(points: Floats, t: Floats) -> Floats:
    """T⁺ReLU(Tx) for each point, POINTS 2; T⁺ is the pseudoinverse, which for n = 2 is the inverse of the paper."""
    return np.asarray(np.maximum(points @ t.T, 0) @ np.linalg.pinv(t).T)


def lost(points: Floats, t: Floats) -> float:
    """Share of the points that cannot be recovered: fewer than two of their outputs are positive."""
    return float(np.mean(~_recoverable(points, t)))


def unexplained(points: Floats, t: Floats) -> float:
    """Share of the spiral's variance that the best affine map of ReLU(Tx) does not explain, 0 to 1."""
    outputs = np.maximum(points @ t.T, 0)
    design = np.concatenate([outputs, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(design, points, rcond=None)[0]
    return float(np.var(points - design @ solution, axis=0).sum() / np.var(points, axis=0).sum())


def expected(n: int) -> float:
    """The chance that at most one of n random rows is positive at a point."""
    return (n + 1) / 2.0**n


def _recoverable(points: Floats, t: Floats) -> NDArray[np.bool_]:
    return np.asarray((points @ t.T > 0).sum(axis=1) >= 2)  # two random rows are independent


def _spread(values: Floats) -> tuple[float, float, float]:
    """Mean, and the range of the middle nine tenths."""
    low, high = np.quantile(values, (0.05, 0.95))
    return float(values.mean()), float(low), float(high)


def _drawn(points: Floats) -> Figure:
    columns = len(DIMENSIONS) + 1
    figure, _ = figure_of(11, 4.2, columns=columns, rows=2)
    color = np.arange(len(points))
    for i, n in enumerate((0, *DIMENSIONS)):
        t = embedding(n, 0) if n else np.eye(2)
        above, below = figure.axes[i], figure.axes[i + columns]
        seen = projected_back(points, t) if n else points
        above.scatter(seen[:, 0], seen[:, 1], c=color, s=3, cmap="viridis", linewidths=0, rasterized=True)
        above.set_title(f"n = {n}" if n else "input", fontsize=10)
        marks = np.where(_recoverable(points, t), ACCENT, AMBER) if n else np.full(len(points), ACCENT)
        below.scatter(points[:, 0], points[:, 1], c=marks.tolist(), s=3, linewidths=0, rasterized=True)
        for axes in (above, below):
            _bare(axes)
    return figure


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_visible(False)

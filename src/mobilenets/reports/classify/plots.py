"""The plots of a classifier's report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.evaluation.classify import metrics
from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.reports import plots as drawing
from mobilenets.reports.cells import how_to_open
from mobilenets.reports.page import Cell
from mobilenets.reports.plots import ACCENT, INK, MUTED, WRONG, Plot, figure_of, legend_above, percent, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plots(report: Report, cells: Sequence[Cell]) -> Iterator[Plot]:
    """The plots that apply to a report.

    Args:
        report: a classifier's report.
        cells: the clickable cells of the confusion matrix.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    many = len(report.labels) > 8
    counts = report.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    note = "Each row: how the images of a true class were predicted. Blue is right, red is wrong." + how_to_open(counts, cells)
    opened = [cell.place for cell in cells]
    matrix = drawing.confusion(counts, shares, report.labels, report.labels, opened=opened)
    yield Plot(drawing.MATRIX, "Confusion matrix", note, matrix, wide=many)
    if report.positive is not None:
        note = f"True and false positives for '{short(report.labels[1], 40)}' as the threshold falls."
        yield Plot("roc", "ROC curve", note, roc(report))
    if len(report.labels) > 2:
        which = f"The {drawing.BARS} classes with the lowest F1. " if len(report.labels) > drawing.BARS else ""
        yield Plot(
            "classes", "Classes", f"{which}Bar: F1; marks: precision and recall.", drawing.class_bars(report.classes), wide=many
        )
    note = f"Accuracy by score, in {len(report.reliability)} bins. On the diagonal, a score of 80% is right in 80 of 100 cases."
    yield Plot("reliability", "Are the scores calibrated?", note, reliability(report))
    yield Plot("scores", "Scores", "How confident the model is when it is right and when it is wrong.", scores(report))


def reliability(report: Report) -> Figure:
    """Accuracy per bin of scores, with the diagonal of perfect calibration."""
    bins = report.reliability
    figure, axes = figure_of(4.6, 4.2)
    largest = max(bar.count for bar in bins)
    for bar in bins:
        if bar.count:
            width = bar.high - bar.low
            alpha = 0.3 + 0.6 * bar.count / largest
            axes.bar(bar.low, bar.accuracy, width * 0.94, align="edge", color=ACCENT, alpha=alpha)
            axes.plot([bar.low + width * 0.1, bar.high - width * 0.1], [bar.score, bar.score], color=INK, linewidth=1.8)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    axes.plot([], [], color=INK, linewidth=1.8, label="mean score of the bin; strong bars: many images")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score", ylabel="accuracy")
    percent(axes, "x")
    percent(axes, "y")
    legend_above(axes, 1)
    return figure


def scores(report: Report) -> Figure:
    """Histogram of the highest scores, with right and wrong predictions stacked."""
    correct = report.predicted == report.truth
    figure, axes = figure_of(4.6, 4.2)
    edges = np.linspace(0, 1, 26).tolist()
    parts = [report.confidence[correct], report.confidence[~correct]]
    names = [f"right ({int(correct.sum()):,})", f"wrong ({int((~correct).sum()):,})"]
    axes.hist(parts, bins=edges, stacked=True, color=[ACCENT, WRONG], label=names, rwidth=0.9)
    axes.set(xlim=(0, 1), xlabel="score", ylabel="images")
    percent(axes, "x")
    legend_above(axes, 2)
    return figure


def roc(report: Report) -> Figure:
    """True-positive against false-positive rate for the second of two labels."""
    positive = report.truth == 1
    false_rate, true_rate = metrics.roc_curve(positive, report.scores[:, 1])
    figure, axes = figure_of(4.6, 4.2)
    axes.fill_between(false_rate, true_rate, color=ACCENT, alpha=0.12, linewidth=0)
    axes.plot(false_rate, true_rate, color=ACCENT, linewidth=2)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    called = report.predicted == 1
    point = (called[~positive].mean(), called[positive].mean())
    axes.plot(*point, "o", color=INK, markersize=7, label="at the threshold it uses")
    axes.text(0.96, 0.06, f"AUC {report.metric('roc_auc').value:.3f}", ha="right", color=INK, fontsize=13, weight="bold")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="false-positive rate", ylabel="true-positive rate")
    percent(axes, "x")
    percent(axes, "y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.12), frameon=False, labelcolor=INK, fontsize=9)
    return figure

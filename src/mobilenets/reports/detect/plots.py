"""The plots of a detector's report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.reports import plots as drawing
from mobilenets.reports.plots import MUTED, WRONG, Plot, color_cycle, figure_of, legend_above, line_styles, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

LINES = 8  # classes of one plot that have a line of their own


def plots(report: DetectionReport) -> Iterator[Plot]:
    """The plots that make sense for a report.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    few = _named(report)
    which = f"The {LINES} classes with the most objects; gray: all others. " if len(few) < _occurring(report) else ""
    note = f"{which}Overlap 0.50. Dots: at the score threshold."
    yield Plot("precision_recall", "Precision and recall", note, precision_recall(report))
    note = f"{which}Overlap 0.50. Dots: at the score threshold; it is best where the curve is highest."
    yield Plot("f1", "F1 by score threshold", note, f1_curves(report))
    names = [*report.labels, "background"]
    note = (
        "Each row: what became of the objects of a class. Last row: detections where nothing is, as a share of all detections "
        "of that class. Blue is right, red is wrong."
    )
    counts = report.confusion
    matrix = drawing.confusion(counts, _shares(counts), names, [*report.labels, "missed"])
    yield Plot("confusion", "Confusion matrix with background", note, matrix, wide=len(names) > 8)
    if len(report.labels) > 1:
        worst = f"The {drawing.BARS} classes with the lowest F1. " if len(report.labels) > drawing.BARS else ""
        note = f"{worst}Bar: F1; marks: precision and recall."
        yield Plot("classes", "Classes", note, drawing.class_bars(report.classes), wide=len(names) > 8)
    yield Plot("scores", "Scores", "How confident the model is about what is there and what is not.", scores(report))


def precision_recall(report: DetectionReport) -> Figure:
    """Precision against recall of each class as the threshold falls."""
    figure, axes = figure_of(4.6, 4.2)
    for ranked in report.ranked:
        if ranked.support:
            points = detect_metrics.curve(ranked)
            axes.plot(points.recall, points.precision, color=MUTED, alpha=0.25, linewidth=0.8)
    for k, color, style in _lines(report):
        points, row = detect_metrics.curve(report.ranked[k]), report.classes[k]
        label = f"{short(row.label)}  AP50 {row.ap50:.1%}"
        axes.plot(points.recall, points.precision, style, color=color, linewidth=1.8, label=label)
        axes.plot(row.recall, row.precision, "o", color=color, markersize=6)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    _finished(axes, report)
    return figure


def f1_curves(report: DetectionReport) -> Figure:
    """F1 of each class by its score threshold."""
    figure, axes = figure_of(4.6, 4.2)
    for k, color, style in _lines(report):
        points, row = detect_metrics.curve(report.ranked[k]), report.classes[k]
        label = f"{short(row.label)}  at {row.threshold:.2f}: {row.f1:.1%}"
        axes.plot(points.scores, points.f1, style, color=color, linewidth=1.8, label=label)
        axes.plot(row.threshold, row.f1, "o", color=color, markersize=6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold", ylabel="F1")
    _finished(axes, report)
    return figure


def scores(report: DetectionReport) -> Figure:
    """Histogram of scores, right and wrong detections stacked."""
    figure, axes = figure_of(4.6, 4.2)
    values = np.concatenate([ranked.scores for ranked in report.ranked])
    hits = np.concatenate([ranked.hits for ranked in report.ranked])
    names = [f"an object is there ({int(hits.sum()):,})", f"nothing is there ({int((~hits).sum()):,})"]
    parts, colors = [values[hits], values[~hits]], [drawing.ACCENT, WRONG]
    axes.hist(parts, bins=np.linspace(0, 1, 26).tolist(), stacked=True, color=colors, label=names, rwidth=0.9)
    axes.set_yscale("symlog")  # far more are low than high
    axes.set(xlim=(0, 1), xlabel="score", ylabel="detections")
    percent(axes, "x")
    legend_above(axes, 1)
    return figure


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each true class; in the last row, of the detections of each class."""
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares[-1] = counts[-1] / np.maximum(counts.sum(axis=0), 1)
    return shares


def _lines(report: DetectionReport) -> Iterator[tuple[int, str, str]]:
    """The classes that have a line of their own, each with its color and style."""
    named = _named(report)
    return zip(named, color_cycle(len(named)), line_styles(len(named)), strict=True)


def _finished(axes: Axes, report: DetectionReport) -> None:
    percent(axes, "x")
    percent(axes, "y")
    legend_above(axes, 1 if len(_named(report)) < 4 else 2)


def _named(report: DetectionReport) -> list[int]:
    """The classes with the most objects, in the order of the labels."""
    places = sorted(range(len(report.labels)), key=lambda k: -report.classes[k].support)[:LINES]
    return sorted(k for k in places if report.classes[k].support)


def _occurring(report: DetectionReport) -> int:
    return sum(row.support > 0 for row in report.classes)

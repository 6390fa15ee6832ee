"""The plots of a detector's report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.evaluate import DetectionClass, DetectionReport
from mobilenets.reports import plots as drawing
from mobilenets.reports.cells import how_to_open
from mobilenets.reports.page import Cell
from mobilenets.reports.plots import MUTED, WRONG, Plot, color_cycle, figure_of, legend_above, line_styles, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Values = NDArray[np.float32] | NDArray[np.float64]

LINES = 8  # maximum number of classes with their own line in one plot


def plots(report: DetectionReport, cells: Sequence[Cell]) -> Iterator[Plot]:
    """The plots that apply to a report.

    Args:
        report: a detector's report.
        cells: the clickable cells of the confusion matrix.

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
        "Each row: how the objects of a true class were detected. Last row: detections where nothing is, as a share of all "
        "detections of that class. Blue is right, red is wrong."
    )
    counts = report.confusion
    opened = [cell.place for cell in cells]
    matrix = drawing.confusion(counts, _shares(counts), names, [*report.labels, "missed"], opened=opened)
    note += how_to_open(counts, cells)
    yield Plot(drawing.MATRIX, "Confusion matrix with background", note, matrix, wide=len(names) > 8)
    if len(report.labels) > 1:
        worst = f"The {drawing.BARS} classes with the lowest F1. " if len(report.labels) > drawing.BARS else ""
        note = f"{worst}Bar: F1; marks: precision and recall."
        yield Plot("classes", "Classes", note, drawing.class_bars(report.classes), wide=len(names) > 8)
    yield Plot("scores", "Scores", "How confident the model is on objects and on background.", scores(report))


def precision_recall(report: DetectionReport) -> Figure:
    """Precision-recall curves of the classes."""
    figure, axes = figure_of(4.6, 4.2)
    for ranked in report.ranked:
        if ranked.support:
            curve = detect_metrics.curve(ranked)
            axes.plot(curve.recall, curve.precision, color=MUTED, alpha=0.25, linewidth=0.8)
    for line, curve, row in _lines(report):
        line.draw(axes, (curve.recall, curve.precision), (row.recall, row.precision), note=f"AP50 {row.ap50:.1%}")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    _finish(axes, report)
    return figure


def f1_curves(report: DetectionReport) -> Figure:
    """F1 of each class by score threshold."""
    figure, axes = figure_of(4.6, 4.2)
    for line, curve, row in _lines(report):
        line.draw(axes, (curve.scores, curve.f1), (row.threshold, row.f1), note=f"at {row.threshold:.2f}: {row.f1:.1%}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold", ylabel="F1")
    _finish(axes, report)
    return figure


def scores(report: DetectionReport) -> Figure:
    """Histogram of scores, with right and wrong detections stacked."""
    figure, axes = figure_of(4.6, 4.2)
    values = np.concatenate([ranked.scores for ranked in report.ranked])
    hits = np.concatenate([ranked.hits for ranked in report.ranked])
    names = [f"on an object ({int(hits.sum()):,})", f"on background ({int((~hits).sum()):,})"]
    parts, colors = [values[hits], values[~hits]], [drawing.ACCENT, WRONG]
    axes.hist(parts, bins=np.linspace(0, 1, 26).tolist(), stacked=True, color=colors, label=names, rwidth=0.9)
    axes.set_yscale("symlog")  # low scores are far more frequent than high ones
    axes.set(xlim=(0, 1), xlabel="score", ylabel="detections")
    percent(axes, "x")
    legend_above(axes, 1)
    return figure


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts as shares of each true class; in the last row, of the detections of each class."""
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares[-1] = counts[-1] / np.maximum(counts.sum(axis=0), 1)
    return shares


@dataclass(frozen=True, slots=True)
class _Line:
    """How the curve of one class is drawn."""

    label: str
    color: str
    style: str

    def draw(self, axes: Axes, curve: tuple[Values, Values], dot: tuple[float, float], *, note: str) -> None:
        """Draw the curve, x and y, with a dot at the class's score threshold."""
        axes.plot(*curve, self.style, color=self.color, linewidth=1.8, label=f"{short(self.label)}  {note}")
        axes.plot(*dot, "o", color=self.color, markersize=6)


def _lines(report: DetectionReport) -> Iterator[tuple[_Line, detect_metrics.Curve, DetectionClass]]:
    """The classes with their own line, each with its curve and its metrics."""
    named = _named(report)
    for k, color, style in zip(named, color_cycle(len(named)), line_styles(len(named)), strict=True):
        row = report.classes[k]
        yield _Line(row.label, color, style), detect_metrics.curve(report.ranked[k]), row


def _finish(axes: Axes, report: DetectionReport) -> None:
    percent(axes, "x")
    percent(axes, "y")
    legend_above(axes, 1 if len(_named(report)) < 4 else 2)


def _named(report: DetectionReport) -> list[int]:
    """The classes with the most objects, in the order of the labels."""
    places = sorted(range(len(report.labels)), key=lambda k: -report.classes[k].support)[:LINES]
    return sorted(k for k in places if report.classes[k].support)


def _occurring(report: DetectionReport) -> int:
    return sum(row.support > 0 for row in report.classes)

"""The plots of a segmenter's report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.evaluation.segment.evaluate import LabelMetrics, SegmentationReport
from mobilenets.reports import plots as drawing
from mobilenets.reports.cells import how_to_open
from mobilenets.reports.page import Cell
from mobilenets.reports.plots import ACCENT, BARS, Plot, figure_of, percent, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def plots(report: SegmentationReport, cells: Sequence[Cell]) -> Iterator[Plot]:
    """The plots that apply to a report.

    Args:
        report: a segmenter's report.
        cells: the clickable cells of the confusion matrix.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    wide = len(report.labels) > 8
    which = f"The {BARS} classes with the lowest IoU. " if len(_rows(report)) > BARS else ""
    note = f"{which}Bar: intersection over union; marks: precision and recall of its pixels."
    yield Plot("classes", "Classes", note, class_bars(report), wide=wide)
    shares = shares_of(report)
    percents = percents_of(report)
    names = [report.labels[i] for i in occurring(report)]
    opened = [cell.place for cell in cells]
    note = "Each row: how the pixels of a true class were predicted, in percent. Blue is right, red is wrong."
    note += how_to_open(percents, cells)
    matrix = drawing.confusion(percents, shares, names, names, opened=opened)
    yield Plot(drawing.MATRIX, "Confusion matrix", note, matrix, wide=wide)
    yield Plot("images", "Images", "How many images reach which mean IoU, over the classes that each shows.", images(report))


def occurring(report: SegmentationReport) -> list[int]:
    """The classes in the ground truth or the predictions, which are the rows and columns of the matrix."""
    return [i for i, row in enumerate(report.classes) if row.pixels or report.called[:, i].any()]


def shares_of(report: SegmentationReport) -> NDArray[np.float64]:
    """Share of the pixels of each true class, down, that was predicted as each class, across."""
    counts = report.confusion[np.ix_(occurring(report), occurring(report))]
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def percents_of(report: SegmentationReport) -> NDArray[np.int64]:
    """The numbers in the matrix."""
    return np.rint(100 * shares_of(report)).astype(np.int64)


def class_bars(report: SegmentationReport) -> Figure:
    """IoU of each class that occurs, with recall and precision marked; if there are many classes, only the lowest ones."""
    rows = _rows(report)
    if len(rows) > BARS:
        rows = sorted(rows, key=lambda row: row.iou)[:BARS]
    pixels = max(sum(row.pixels for row in report.classes), 1)
    names = [f"{short(row.label)} ({row.pixels / pixels:.1%})" for row in rows]
    precision, recall = [row.precision for row in rows], [row.recall for row in rows]
    return drawing.bars_with_marks(names, ("IoU", [row.iou for row in rows]), precision=precision, recall=recall)


def images(report: SegmentationReport) -> Figure:
    """Histogram of the images' mean IoU."""
    figure, axes = figure_of(4.6, 4.2)
    values = [row.mean_iou for row in report.images if not np.isnan(row.mean_iou)]
    axes.hist(values, bins=np.linspace(0, 1, 26).tolist(), color=ACCENT, alpha=0.7, rwidth=0.9)
    axes.set(xlim=(0, 1), xlabel="mean IoU", ylabel="images")
    percent(axes, "x")
    return figure


def _rows(report: SegmentationReport) -> list[LabelMetrics]:
    return [row for row in report.classes if row.pixels]

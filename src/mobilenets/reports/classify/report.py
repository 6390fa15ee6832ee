"""The report of a classifier."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.classify.calibration import losses, negative_log_likelihood
from mobilenets.evaluation.classify.evaluate import Report, Row
from mobilenets.reports import words
from mobilenets.reports.cells import cells, how_many, predicted_as
from mobilenets.reports.classify.plots import plots
from mobilenets.reports.escape import csv_cell
from mobilenets.reports.page import SMALL, Brief, Cell, Content, Fact, Remark, Shown, Table, shown


def content(report: Report, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """The part of a report's page about a classifier.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    wrong = int((report.predicted != report.truth).sum())
    mistakes = tuple(_mistake(row, read_image) for row in report.worst(worst))
    introduction = "None: every image was classified right."
    if wrong:
        introduction = (
            f"The {len(mistakes)} most confident of {wrong:,} mistakes. Look at them first; some images may be labeled wrong."
        )
    opened = _cells(report, read_image) if worst else ()
    return Content(
        subtitle=subtitle(report),
        headline="Worst mistakes",
        introduction=introduction,
        shown=mistakes,
        plots=tuple(plots(report, opened)),
        tables=tuple(_tables(report)),
        right=tuple(_right(row, read_image) for row in report.best(worst)),
        cells=opened,
    )


def data(report: Report, worst: int) -> dict[str, object]:
    """The entries of `report.json` for a classifier."""
    truth, predicted = np.nonzero(report.confusion)
    return {
        "temperature": report.temperature,
        "classes": [
            {"label": row.label, "precision": row.precision, "recall": row.recall, "f1": row.f1, "support": row.support}
            for row in report.classes
        ],
        "confusion": [
            {"truth": report.labels[i], "predicted": report.labels[j], "count": int(report.confusion[i, j])}
            for i, j in zip(truth, predicted, strict=True)
        ]
        if len(truth) <= 10_000
        else None,
        "reliability": [
            {"low": bar.low, "high": bar.high, "count": bar.count, "score": bar.score, "accuracy": bar.accuracy}
            for bar in report.reliability
        ],
        "worst": [
            {"name": row.name, "truth": row.truth, "predicted": row.predicted, "score": row.score}
            for row in report.worst(worst)
        ],
    }


def csv_text(report: Report) -> str:
    """One line per image: name, truth, predicted, score, the true label's score, whether it is right."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "truth", "predicted", "score", "truth_score", "correct"))
    for row in report.rows():
        texts = (csv_cell(text) for text in (row.name, row.truth, row.predicted))
        writer.writerow((*texts, f"{row.score:.6f}", f"{row.truth_score:.6f}", int(row.correct)))
    return buffer.getvalue()


def brief(report: Report, worst: int) -> Brief:
    """The table for the command line: the worst mistakes."""
    rows = tuple((row.name, row.truth, row.predicted, f"{row.score:.1%}") for row in report.worst(worst))
    return Brief(Table("Worst mistakes", ("worst mistakes", "truth", "predicted", "score"), rows))


def remarks(report: Report) -> list[Remark]:
    """Remarks on whether the accuracy is above that of a constant prediction, and whether the temperature helps."""
    remarks = []
    support = np.bincount(report.truth, minlength=len(report.labels))
    share, label = support.max() / len(report), report.labels[int(support.argmax())]
    accuracy = report.metric("top1")
    if (support > 0).sum() > 1 and accuracy.interval is not None and accuracy.interval.low <= share:
        remarks.append(
            Remark(
                f"Always answering '{label}' would be right for {share:.1%} of these images; the model is right for "
                f"{accuracy.value:.1%}, which is not clearly better."
            )
        )
    shipped, plain = report.metric("nll").value, negative_log_likelihood(report.logits, report.truth)
    if report.temperature != 1 and shipped > plain:
        remarks.append(
            Remark(
                f"The temperature {report.temperature:.2f}, fitted on validation images, does not help here: the negative log "
                f"likelihood is {shipped:.3f}, and {plain:.3f} without it."
            )
        )
    return remarks


def support(report: Report) -> dict[str, int]:
    """The number of images of each class."""
    return {row.label: row.support for row in report.classes}


def per_image(report: Report) -> Mapping[str, NDArray[Any]]:  # Any: arrays of several types
    """The results for each image that `compare` needs."""
    return {
        "truth": report.truth,
        "predicted": report.predicted,
        "loss": losses(report.logits, report.truth, report.temperature),
    }


def subtitle(report: Report) -> str:
    """One line that says what was evaluated."""
    occurring = sum(row.support > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    return f"{report.model} on {len(report):,} images of {classes} classes{unreadable}"


def confused(report: Report, most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of labels that are confused most often: true label, predicted label, number of images."""
    counts = report.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(report.labels)) for place in order]
    return [(report.labels[i], report.labels[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _mistake(row: Row, read_image: Callable[[str], bytes]) -> Shown:
    predicted = Fact("predicted", f"{row.predicted} {row.score:.1%}", "bad")
    truth = Fact("truth", f"{row.truth} {row.truth_score:.1%}", "good")
    return shown(row.name, (predicted, truth), read_image)


def _right(row: Row, read_image: Callable[[str], bytes]) -> Shown:
    return shown(row.name, (Fact("predicted", f"{row.predicted} {row.score:.1%}", "good"),), read_image)


def _cells(report: Report, read_image: Callable[[str], bytes]) -> tuple[Cell, ...]:
    """Some images behind each cell of the confusion matrix, the most confident first."""
    order = np.argsort(-report.confidence, kind="stable")

    def behind(i: int, j: int, most: int) -> tuple[str, list[Shown]]:
        own = order[(report.truth[order] == i) & (report.predicted[order] == j)]
        images = [
            shown(report.names[k], (Fact("score", f"{report.confidence[k]:.1%}"),), read_image, side=SMALL) for k in own[:most]
        ]
        return how_many(len(own), "image", images, "most confident"), images

    return tuple(cells(report.confusion, predicted_as(report.labels), behind))


def _tables(report: Report) -> list[Table]:
    tables = []
    pairs = confused(report) if len(report.labels) > 2 else []
    if pairs:
        rows = tuple((truth, predicted, f"{count:,}") for truth, predicted, count in pairs)
        tables.append(Table("Most often confused", ("truth", "predicted as", "images"), rows, words=2))
    classes = [row for row in report.classes if row.support]
    columns = ("class", "precision", "recall", "F1", "images")
    table = Table("Class by class", columns, ())
    note = ""
    if len(classes) > table.most:
        classes.sort(key=lambda row: row.f1)
        note = f"The {table.most} classes with the lowest F1; {len(classes) - table.most} more are in report.json."
    lines = tuple(
        (row.label, words.share(row.precision), words.share(row.recall), words.share(row.f1), f"{row.support:,}")
        for row in classes
    )
    return [*tables, Table(table.title, columns, lines, note=note)]

"""The report of a classifier."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np

from mobilenets.evaluation.classify.evaluate import Report, Row
from mobilenets.reports import words
from mobilenets.reports.classify.plots import plots
from mobilenets.reports.page import Brief, Content, Fact, Shown, Table, shown


def content(report: Report, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """What there is to say of a classifier.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    wrong = int((report.predicted != report.truth).sum())
    mistakes = tuple(_mistake(row, read_image) for row in report.worst(worst))
    introduction = "None: every image was classified right."
    if wrong:
        introduction = (
            f"Wrong and most sure of it: {len(mistakes)} of {wrong:,}. Look at them first; some may be labelled wrong."
        )
    return Content(
        subtitle=subtitle(report),
        headline="Worst mistakes",
        introduction=introduction,
        shown=mistakes,
        plots=tuple(plots(report)),
        tables=tuple(_tables(report)),
    )


def data(report: Report, worst: int) -> dict[str, object]:
    """What `report.json` holds of a classifier."""
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
            {"low": one.low, "high": one.high, "count": one.count, "score": one.score, "accuracy": one.accuracy}
            for one in report.reliability
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
        values = (row.name, row.truth, row.predicted, f"{row.score:.6f}", f"{row.truth_score:.6f}", int(row.correct))
        writer.writerow(values)
    return buffer.getvalue()


def brief(report: Report, worst: int) -> Brief:
    """The worst mistakes."""
    rows = tuple((row.name, row.truth, row.predicted, f"{row.score:.1%}") for row in report.worst(worst))
    return Brief(Table("Worst mistakes", ("worst mistakes", "truth", "predicted", "score"), rows))


def subtitle(report: Report) -> str:
    """What was evaluated, in one line."""
    occurring = sum(row.support > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    return f"{report.model} on {len(report):,} images of {classes} classes{unreadable}"


def confused(report: Report, most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of labels that are taken for one another most often: true label, predicted label, how often."""
    counts = report.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(report.labels)) for place in order]
    return [(report.labels[i], report.labels[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _mistake(row: Row, read_image: Callable[[str], bytes]) -> Shown:
    said = Fact("said", f"{row.predicted} {row.score:.1%}", "bad")
    truth = Fact("truth", f"{row.truth} {row.truth_score:.1%}", "good")
    return shown(row.name, (said, truth), read_image)


def _tables(report: Report) -> list[Table]:
    tables = []
    pairs = confused(report) if len(report.labels) > 2 else []
    if pairs:
        rows = tuple((truth, predicted, f"{count:,}") for truth, predicted, count in pairs)
        tables.append(Table("Most often confused", ("truth", "taken for", "images"), rows, words=2))
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

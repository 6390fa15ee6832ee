"""The report of a detector."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.evaluate import DetectionReport, Verdict
from mobilenets.evaluation.detect.truth import FALSE, IGNORED
from mobilenets.reports import words
from mobilenets.reports.detect.plots import plots
from mobilenets.reports.page import Brief, Content, Fact, Shown, Table, shown
from mobilenets.runtime.detect.draw import Mark, draw_marks

RIGHT, WRONG, MISSED, OTHER = (29, 158, 96), (226, 54, 40), (255, 176, 0), (192, 64, 222)
POINTS = 101  # of a curve in report.json, at most


def content(report: DetectionReport, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """What there is to say of a detector.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = report.worst(worst)
    introduction = "None: every object was found, and nothing that is not there."
    if report.worst(1):
        introduction = (
            "The images with the most and surest mistakes. Red: nothing is there. Purple: it is of another class. "
            "Yellow, dashed: not found. Green: right. Some may be labelled wrong."
        )
    return Content(
        subtitle=subtitle(report),
        headline="False positives and misses",
        introduction=introduction,
        shown=tuple(_shown(verdict, read_image) for verdict in found),
        plots=tuple(plots(report)),
        tables=tuple(_tables(report)),
        wide=True,
    )


def data(report: DetectionReport, worst: int) -> dict[str, object]:
    """What `report.json` holds of a detector."""
    names = (*report.labels, None)
    confusion = report.confusion
    return {
        "thresholds": "of the model" if report.model_thresholds else "with the best F1 on these images",
        "classes": [
            {
                "label": row.label,
                "ap": row.ap,
                "ap50": row.ap50,
                "threshold": row.threshold,
                "precision": row.precision,
                "recall": row.recall,
                "f1": row.f1,
                "support": row.support,
                "curve": _points(detect_metrics.curve(one)),
            }
            for row, one in zip(report.classes, report.ranked, strict=True)
        ],
        "confusion": [
            {"truth": names[i], "predicted": names[j], "count": int(confusion[i, j])}
            for i, j in zip(*np.nonzero(confusion), strict=True)
        ],
        "worst": [
            {
                "name": verdict.name,
                "false": len(verdict.false),
                "confused": len(verdict.confused),
                "missed": len(verdict.missed),
                "right": len(verdict.hits),
            }
            for verdict in report.worst(worst)
        ],
    }


def csv_text(report: DetectionReport) -> str:
    """One line per detection above the thresholds, and one per object that was missed.

    The columns: image, label, score, box, and what it is: "right", "false", "other class", "missed" or "ignored" with the
    true label.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "label", "score", "x0", "y0", "x1", "y1", "verdict", "truth"))
    for verdict in report.verdicts():
        for (label, score, box), j in zip(verdict.shown.each(), verdict.found.tolist(), strict=True):
            truth = report.labels[verdict.truth.classes[j]] if j >= 0 else ""
            kind = {FALSE: "false", IGNORED: "ignored"}.get(j) or ("right" if truth == label else "other class")
            writer.writerow((verdict.name, label, f"{score:.6f}", *(f"{edge:.2f}" for edge in box), kind, truth))
        for j in verdict.missed:
            truth = report.labels[verdict.truth.classes[j]]
            writer.writerow((verdict.name, "", "", *(f"{edge:.2f}" for edge in verdict.truth.boxes[j]), "missed", truth))
    return buffer.getvalue()


def brief(report: DetectionReport, worst: int) -> Brief:
    """The classes, and the images with the worst mistakes."""
    rows = tuple(
        (one.name, f"{len(one.false):,}", f"{len(one.confused):,}", f"{len(one.missed):,}", f"{len(one.hits):,}")
        for one in report.worst(worst)
    )
    columns = ("worst images", "false positives", "other class", "misses", "right")
    return Brief(Table("Worst images", columns, rows), tuple(_tables(report)))


def subtitle(report: DetectionReport) -> str:
    """What was evaluated, in one line."""
    occurring = sum(row.support > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    objects = words.count(sum(row.support for row in report.classes), "object")
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    return f"{report.model} on {words.count(len(report), 'image')} with {objects} of {classes} classes{unreadable}"


def _shown(verdict: Verdict, read_image: Callable[[str], bytes]) -> Shown:
    counts = (
        (len(verdict.false), "false positive", ""),
        (len(verdict.confused), "of another class", "of another class"),
        (len(verdict.missed), "miss", "misses"),
    )
    wrong = ", ".join(words.count(number, noun, plural) for number, noun, plural in counts if number)
    right = f"{len(verdict.hits):,} of {int((~verdict.truth.ignored).sum()):,} objects"
    facts = (Fact("wrong", wrong, "bad"), Fact("right", right, "good"))
    return shown(verdict.name, facts, read_image, partial(_drawn, verdict=verdict))


def _drawn(image: Image.Image, *, verdict: Verdict) -> Image.Image:
    return draw_marks(image, _marks(verdict))


def _marks(verdict: Verdict) -> Iterator[Mark]:
    """What is right first, so that mistakes lie on top."""
    rows, labels = verdict.shown.each(), verdict.shown.labels
    for i in verdict.hits:
        yield Mark(rows[i][2], "", RIGHT)
    for j in verdict.missed:
        x0, y0, x1, y1 = verdict.truth.boxes[j].tolist()
        yield Mark((x0, y0, x1, y1), labels[verdict.truth.classes[j]], MISSED, dashed=True)
    for i in verdict.confused:
        label, score, box = rows[i]
        truth = labels[verdict.truth.classes[verdict.found[i]]]
        yield Mark(box, f"{label} {score:.0%}, is {truth}", OTHER)
    for i in verdict.false:
        label, score, box = rows[i]
        yield Mark(box, f"{label} {score:.0%}", WRONG)


def _tables(report: DetectionReport) -> Iterator[Table]:
    columns = ("class", "AP50", "AP", "threshold", "precision", "recall", "F1", "objects")
    classes = [row for row in report.classes if row.support]
    which = "the model's" if report.model_thresholds else "those with the best F1 on these images"
    note = f"AP over all scores; precision, recall and F1 above the score thresholds, which are {which}; overlap 0.50."
    rows = tuple(
        (
            row.label,
            words.share(row.ap50),
            words.share(row.ap),
            f"{row.threshold:.2f}",
            words.share(row.precision),
            words.share(row.recall),
            words.share(row.f1),
            f"{row.support:,}",
        )
        for row in classes
    )
    yield Table("Class by class", columns, rows, note=note)


def _points(curve: detect_metrics.Curve) -> list[tuple[float, float, float]]:
    """Score, precision and recall along the curve, thinned out."""
    if not len(curve.scores):
        return []
    places = np.unique(np.linspace(0, len(curve.scores) - 1, POINTS).round().astype(np.int64))
    columns = (values[places].astype(np.float64).round(5).tolist() for values in (curve.scores, curve.precision, curve.recall))
    return list(zip(*columns, strict=True))

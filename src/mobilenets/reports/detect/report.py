"""The report of a detector."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.text import counted
from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.evaluate import DetectionReport, Verdict
from mobilenets.evaluation.detect.truth import FALSE, IGNORED
from mobilenets.reports import words
from mobilenets.reports.detect.cells import cells_of
from mobilenets.reports.detect.colors import MISSED, OTHER, RIGHT, WRONG
from mobilenets.reports.detect.plots import plots
from mobilenets.reports.escape import csv_cell
from mobilenets.reports.page import DRAWN, Brief, Content, Fact, Remark, Shown, Table, shown
from mobilenets.runtime.detect.draw import Mark, draw_marks
from mobilenets.runtime.detect.nms import ious

POINTS = 101  # maximum number of points of a curve in report.json
CANDIDATES = 400  # number of boxes that are tried as the constant box


def content(report: DetectionReport, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """The part of a report's page about a detector.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    verdicts = report.worst(worst)
    introduction = "None: every object was found, and nothing else."
    if verdicts:
        introduction = (
            "The images with the most and the most confident mistakes. Red: nothing is there. Purple: wrong class. "
            "Yellow, dashed: missed. Green: right. Some images may be labeled wrong."
        )
    opened = cells_of(report, read_image) if worst else ()
    return Content(
        subtitle=subtitle(report),
        headline="False positives and misses",
        introduction=introduction,
        shown=tuple(_shown(verdict, read_image) for verdict in verdicts),
        plots=tuple(plots(report, opened)),
        tables=tuple(_tables(report)),
        wide=True,
        right=tuple(_right(verdict, read_image) for verdict in report.best(worst // 2)),
        cells=opened,
        legend="Solid: detected; dashed: labeled.",
    )


def data(report: DetectionReport, worst: int) -> dict[str, object]:
    """The entries of `report.json` for a detector."""
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
                "curve": _points(detect_metrics.curve(ranked)),
            }
            for row, ranked in zip(report.classes, report.ranked, strict=True)
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
            edges = (f"{edge:.2f}" for edge in box)
            writer.writerow((csv_cell(verdict.name), csv_cell(label), f"{score:.6f}", *edges, kind, csv_cell(truth)))
        for j in verdict.missed:
            truth = report.labels[verdict.truth.classes[j]]
            edges = (f"{edge:.2f}" for edge in verdict.truth.boxes[j])
            writer.writerow((csv_cell(verdict.name), "", "", *edges, "missed", csv_cell(truth)))
    return buffer.getvalue()


def brief(report: DetectionReport, worst: int) -> Brief:
    """The tables for the command line: the classes, and the images with the worst mistakes."""
    rows = tuple(
        (verdict.name, *(f"{len(which):,}" for which in (verdict.false, verdict.confused, verdict.missed, verdict.hits)))
        for verdict in report.worst(worst)
    )
    columns = ("worst images", "false positives", "other class", "misses", "right")
    return Brief(Table("Worst images", columns, rows), tuple(_tables(report)))


def remarks(report: DetectionReport) -> list[Remark]:
    """Remarks on whether there is anything to find, and on whether one constant box would find many of the objects.

    A constant box does so if the objects are always in the same place.
    """
    if not any(support(report).values()):
        return [Remark("These images have no objects, so only false positives can be counted; mAP and recall are undefined.")]
    explained, hits, _ = constant_box(report)
    if explained < 5 or 3 * explained < hits:
        return []
    return [
        Remark(
            f"One constant box, predicted in every image, explains {explained:,} of {hits:,} hits: many objects are in the "
            "same place, so finding them there says little about images where they are elsewhere."
        )
    ]


def constant_box(report: DetectionReport) -> tuple[int, int, tuple[float, float, float, float]]:
    """The constant box that, predicted in every image, finds most of the objects that the detector finds.

    Returns:
        The number of right detections that it explains, at most one per image; the number of right detections; the box, px.
    """
    hits: list[NDArray[np.float32]] = []
    images: list[int] = []
    for i, verdict in enumerate(report.verdicts()):
        boxes = verdict.truth.boxes[verdict.found[verdict.hits]]
        hits.append(boxes)
        images += [i] * len(boxes)
    boxes = np.concatenate(hits) if images else np.zeros((0, 4), np.float32)
    if not len(boxes):
        return 0, 0, (0.0, 0.0, 0.0, 0.0)
    step = -(-len(boxes) // CANDIDATES)
    candidates = boxes[::step]
    explained = [len(set(np.array(images)[overlaps >= 0.5].tolist())) for overlaps in ious(candidates, boxes)]
    best = int(np.argmax(explained))
    x0, y0, x1, y1 = candidates[best].tolist()
    return explained[best], len(boxes), (x0, y0, x1, y1)


def support(report: DetectionReport) -> dict[str, int]:
    """The number of objects of each class."""
    return {row.label: row.support for row in report.classes}


def per_image(report: DetectionReport) -> Mapping[str, NDArray[Any]]:  # Any: arrays of several types
    """The results for each image that `compare` needs: every detection that counts, by overlap and class, and the objects."""
    levels = report.coco.ranked
    flat = [(t, k, ranked) for t, of_overlap in enumerate(levels) for k, ranked in enumerate(of_overlap)]
    return {
        "overlap": np.repeat([t for t, _, _ in flat], [len(ranked.scores) for *_, ranked in flat]).astype(np.uint8),
        "class": np.repeat([k for _, k, _ in flat], [len(ranked.scores) for *_, ranked in flat]).astype(np.uint32),
        "score": np.concatenate([ranked.scores for *_, ranked in flat]),
        "hit": np.concatenate([ranked.hits for *_, ranked in flat]),
        "image": np.concatenate([ranked.images for *_, ranked in flat]).astype(np.uint32),
        "objects": np.stack([ranked.objects for ranked in levels[0]]),
    }


def subtitle(report: DetectionReport) -> str:
    """One line that says what was evaluated."""
    occurring = sum(row.support > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    objects = counted(sum(row.support for row in report.classes), "object")
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    return f"{report.model} on {counted(len(report), 'image')} with {objects} of {classes} classes{unreadable}"


def _shown(verdict: Verdict, read_image: Callable[[str], bytes]) -> Shown:
    counts = (
        (len(verdict.false), "false positive", ""),
        (len(verdict.confused), "of another class", "of another class"),
        (len(verdict.missed), "miss", "misses"),
    )
    wrong = ", ".join(counted(number, noun, plural) for number, noun, plural in counts if number)
    right = f"{len(verdict.hits):,} of {int((~verdict.truth.ignored).sum()):,} objects"
    facts = (Fact("wrong", wrong, "bad"), Fact("right", right, "good"))
    return shown(verdict.name, facts, read_image, partial(_drawn, verdict=verdict))


def _right(verdict: Verdict, read_image: Callable[[str], bytes]) -> Shown:
    facts = (Fact("right", f"all {counted(len(verdict.hits), 'object')}", "good"),)
    return shown(verdict.name, facts, read_image, partial(_drawn, verdict=verdict))


def _drawn(image: Image.Image, *, verdict: Verdict) -> Image.Image:
    """The image with its boxes, no larger than displayed, so that lines and labels have the same size in all images."""
    scale = min(1.0, DRAWN / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = image.resize(size, Image.Resampling.LANCZOS) if scale < 1 else image
    across = max(size[0], size[1] * 4 / 3)  # px that fill the width of an image's frame, which is 4 : 3
    marks = (replace(mark, box=_scaled(mark.box, scale)) for mark in _marks(verdict))
    return draw_marks(canvas, marks, text_px=max(8, round(across / 44)))


def _scaled(box: tuple[float, float, float, float], scale: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0 * scale, y0 * scale, x1 * scale, y1 * scale


def _marks(verdict: Verdict) -> Iterator[Mark]:
    """Correct boxes first, so that mistakes are drawn on top of them."""
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
    which = "which come with the model" if report.model_thresholds else "those with the best F1 on these images"
    note = f"AP counts all scores; precision, recall and F1 those above the thresholds, {which}; overlap 0.50."
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
    """Points of score, precision and recall along the curve, thinned out."""
    if not len(curve.scores):
        return []
    places = np.unique(np.linspace(0, len(curve.scores) - 1, POINTS).round().astype(np.int64))
    columns = (values[places].astype(np.float64).round(5).tolist() for values in (curve.scores, curve.precision, curve.recall))
    return list(zip(*columns, strict=True))

"""The report of a segmenter."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.masks import IGNORE
from mobilenets.evaluation.segment.evaluate import Compared, ImageMetrics, SegmentationReport
from mobilenets.reports import words
from mobilenets.reports.page import Brief, Content, Fact, Shown, Table, shown
from mobilenets.reports.segment.plots import plots
from mobilenets.runtime.segment.draw import indexed, overlay
from mobilenets.runtime.segment.palette import Color

PANEL = 480  # px, longer side of one of the four panels of a shown image
MOST = 100  # classes of the page's table
WRONG: Color = (226, 54, 40)


def content(report: SegmentationReport, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """What there is to say of a segmenter.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    images = tuple(_shown(report, row, read_image) for row in report.worst(worst))
    introduction = (
        "The images with the lowest mean IoU. Above: the photo, and in red what is wrong; below: the truth and what was "
        "predicted. Some may be labelled wrong."
    )
    return Content(
        subtitle=subtitle(report),
        headline="Worst images",
        introduction=introduction,
        shown=images,
        plots=tuple(plots(report)),
        tables=(_confused(report), _classes(report)),
        wide=True,
    )


def data(report: SegmentationReport, worst: int) -> dict[str, object]:
    """What `report.json` holds of a segmenter."""
    truth, predicted = np.nonzero(report.confusion)
    return {
        "colors": report.colors,
        "classes": [
            {
                "label": row.label,
                "iou": row.iou,
                "recall": row.recall,
                "precision": row.precision,
                "boundary_f": row.boundary_f,
                "pixels": row.pixels,
                "images": row.images,
            }
            for row in report.classes
        ],
        "confusion": [
            {"truth": report.labels[i], "predicted": report.labels[j], "pixels": int(report.confusion[i, j])}
            for i, j in zip(truth, predicted, strict=True)
        ],
        "worst": [{"name": row.name, "mean_iou": row.mean_iou, "pixel_accuracy": row.accuracy} for row in report.worst(worst)],
    }


def csv_text(report: SegmentationReport) -> str:
    """One line per image: name, mean IoU, pixel accuracy, and the IoU of each label; empty where it has none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "mean_iou", "pixel_accuracy", *(f"iou {label}" for label in report.labels)))
    union = report.support + report.called - report.hits
    for i, row in enumerate(report.images):
        ious = [f"{hits / whole:.4f}" if whole else "" for hits, whole in zip(report.hits[i], union[i], strict=True)]
        figures = ("" if np.isnan(figure) else f"{figure:.4f}" for figure in (row.mean_iou, row.accuracy))
        writer.writerow((row.name, *figures, *ious))
    return buffer.getvalue()


def brief(report: SegmentationReport, worst: int) -> Brief:
    """The classes, and the worst images."""
    rows = tuple((row.name, words.share(row.mean_iou), words.share(row.accuracy)) for row in report.worst(worst))
    return Brief(Table("Worst images", ("worst images", "mean IoU", "pixels right"), rows), (_classes(report),))


def subtitle(report: SegmentationReport) -> str:
    """What was evaluated, in one line."""
    occurring = sum(row.pixels > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    pixels = sum(row.pixels for row in report.classes)
    images = words.count(len(report), "image")
    return f"{report.model} on {images}, {pixels / 1e6:,.1f} million pixels of {classes} classes{unreadable}"


def confused(report: SegmentationReport, most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of labels that are taken for one another most often: true label, predicted label, pixels."""
    counts = report.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(report.labels)) for place in order]
    return [(report.labels[i], report.labels[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _confused(report: SegmentationReport) -> Table:
    support = {row.label: row.pixels for row in report.classes}
    rows = tuple((truth, other, words.share(n / support[truth]), f"{n:,}") for truth, other, n in confused(report))
    return Table("Most often confused", ("truth", "taken for", "of its pixels", "pixels"), rows, words=2)


def _classes(report: SegmentationReport) -> Table:
    columns = ("class", "IoU", "recall", "precision", "boundary F", "of all pixels", "images")
    occurring = [row for row in report.classes if row.pixels]
    note = ""
    if len(occurring) > MOST:
        occurring.sort(key=lambda row: row.iou)
        note = f"The {MOST} classes with the lowest IoU; {len(occurring) - MOST} more are in report.json."
    pixels = max(sum(row.pixels for row in report.classes), 1)
    rows = tuple(
        (
            row.label,
            words.share(row.iou),
            words.share(row.recall),
            words.share(row.precision),
            words.share(row.boundary_f),
            words.share(row.pixels / pixels),
            f"{row.images:,}",
        )
        for row in occurring
    )
    return Table("Class by class", columns, rows, note=note, most=MOST)


def _shown(report: SegmentationReport, row: ImageMetrics, read_image: Callable[[str], bytes]) -> Shown:
    facts = (Fact("mean IoU", words.share(row.mean_iou), "bad"), Fact("pixels right", words.share(row.accuracy), "good"))
    compared = report.kept.get(row.name)
    drawn = partial(panels, compared=compared, colors=report.colors) if compared is not None else None
    return shown(row.name, facts, read_image, drawn)


def panels(photo: Image.Image, *, compared: Compared, colors: tuple[Color, ...]) -> Image.Image:
    """Four panels: the photo, and what is wrong in it; the truth, and what was predicted."""
    small = photo.convert("RGB")
    small.thumbnail((PANEL, PANEL))
    wrong = ((compared.truth != compared.predicted) & (compared.truth != IGNORE)).astype(np.uint8)
    size = small.size
    four = (
        small,
        overlay(small, wrong, ((0, 0, 0), WRONG), opacity=0.75),
        _flat(compared.truth, colors, size),
        _flat(compared.predicted, colors, size),
    )
    whole = Image.new("RGB", (2 * size[0], 2 * size[1]))
    for i, panel in enumerate(four):
        whole.paste(panel, (i % 2 * size[0], i // 2 * size[1]))
    return whole


def _flat(classes: NDArray[np.uint8], colors: tuple[Color, ...], size: tuple[int, int]) -> Image.Image:
    return indexed(classes, colors).resize(size, Image.Resampling.NEAREST).convert("RGB")

"""The report of a segmenter."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mobilenets.data.masks import IGNORE
from mobilenets.data.text import counted
from mobilenets.evaluation.segment.evaluate import Compared, ImageMetrics, SegmentationReport
from mobilenets.reports import words
from mobilenets.reports.escape import csv_cell, printable
from mobilenets.reports.page import Brief, Content, Fact, Remark, Shown, Table, shown
from mobilenets.reports.segment.cells import cells_of
from mobilenets.reports.segment.plots import plots
from mobilenets.runtime.segment.draw import IGNORED, indexed, overlay
from mobilenets.runtime.segment.palette import Color

PANEL = 480  # longer side of each of the four panels of an image, px
MOST = 100  # maximum number of classes in the page's table
TEXT_PX = 17  # size of titles and legend
CHOICES: tuple[Color, ...] = ((226, 54, 40), (255, 0, 200), (0, 225, 255), (255, 214, 0), (255, 255, 255))
"""Candidate colors for drawing mistakes."""

APART = 150.0
"""Minimum distance in RGB at which two colors are easily distinguished."""


def content(report: SegmentationReport, *, read_image: Callable[[str], bytes], worst: int) -> Content:
    """The part of a report's page about a segmenter.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    images = tuple(_shown(report, row, read_image, "bad") for row in report.worst(worst))
    introduction = (
        "The images with the lowest mean IoU: the photo and its mistakes above, the true and the predicted classes below. Some "
        "images may be labeled wrong."
    )
    opened = cells_of(report, read_image) if worst else ()
    return Content(
        subtitle=subtitle(report),
        headline="Worst images",
        introduction=introduction,
        shown=images,
        plots=tuple(plots(report, opened)),
        tables=(_confused(report), _classes(report)),
        wide=True,
        right=tuple(_shown(report, row, read_image, "good") for row in report.best(worst // 2)),
        cells=opened,
        legend="Colored: the pixels of this cell, where the image has the most of them.",
    )


def data(report: SegmentationReport, worst: int) -> dict[str, object]:
    """The entries of `report.json` for a segmenter."""
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
    """One line per image: name, mean IoU, pixel accuracy, and the IoU of each class; empty for classes without IoU."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "mean_iou", "pixel_accuracy", *(csv_cell(f"iou {label}") for label in report.labels)))
    union = report.support + report.called - report.hits
    for i, row in enumerate(report.images):
        ious = [f"{hits / whole:.4f}" if whole else "" for hits, whole in zip(report.hits[i], union[i], strict=True)]
        figures = ("" if np.isnan(figure) else f"{figure:.4f}" for figure in (row.mean_iou, row.accuracy))
        writer.writerow((csv_cell(row.name), *figures, *ious))
    return buffer.getvalue()


def brief(report: SegmentationReport, worst: int) -> Brief:
    """The tables for the command line: the classes, and the worst images."""
    rows = tuple((row.name, words.share(row.mean_iou), words.share(row.accuracy)) for row in report.worst(worst))
    return Brief(Table("Worst images", ("worst images", "mean IoU", "pixels right"), rows), (_classes(report),))


def remarks(report: SegmentationReport) -> list[Remark]:
    """Remarks on whether the pixel accuracy is above that of a constant prediction."""
    support = report.support.sum(axis=0)
    share, label = support.max() / max(support.sum(), 1), report.labels[int(support.argmax())]
    accuracy = report.metric("pixel_accuracy")
    interval = accuracy.interval
    low = accuracy.value if interval is None or not interval.known else interval.low
    if not (support > 0).sum() > 1 or not low <= share:
        return []
    return [
        Remark(
            f"Predicting '{label}' everywhere would get {share:.1%} of the pixels right; the model gets "
            f"{accuracy.value:.1%}, which is not clearly better."
        )
    ]


def support(report: SegmentationReport) -> dict[str, int]:
    """The number of images that show each class."""
    return {row.label: row.images for row in report.classes}


def per_image(report: SegmentationReport) -> Mapping[str, NDArray[Any]]:  # Any: arrays of several types
    """The results for each image that `compare` needs."""
    return {"hits": report.hits, "support": report.support, "predicted": report.called}


def subtitle(report: SegmentationReport) -> str:
    """One line that says what was evaluated."""
    occurring = sum(row.pixels > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    pixels = sum(row.pixels for row in report.classes)
    images = counted(len(report), "image")
    return f"{report.model} on {images}, {pixels / 1e6:,.1f} million pixels of {classes} classes{unreadable}"


def confused(report: SegmentationReport, most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of labels that are confused most often: true label, predicted label, pixels."""
    counts = report.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(report.labels)) for place in order]
    return [(report.labels[i], report.labels[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _confused(report: SegmentationReport) -> Table:
    support = {row.label: row.pixels for row in report.classes}
    rows = tuple((truth, other, words.share(n / support[truth]), f"{n:,}") for truth, other, n in confused(report))
    return Table("Most often confused", ("truth", "predicted as", "of its pixels", "pixels"), rows, words=2)


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


def _shown(
    report: SegmentationReport, row: ImageMetrics, read_image: Callable[[str], bytes], tone: Literal["good", "bad"]
) -> Shown:
    facts = (Fact("mean IoU", words.share(row.mean_iou), tone), Fact("pixels right", words.share(row.accuracy)))
    compared = report.kept.get(row.name)
    drawn = partial(_drawn, compared=compared, report=report) if compared is not None else None
    return shown(row.name, facts, read_image, drawn)


def _drawn(photo: Image.Image, *, compared: Compared, report: SegmentationReport) -> Image.Image:
    """The panels with their titles, and below them a legend of the classes that occur."""
    four = panels(photo, compared=compared, colors=report.colors)
    occurring = np.union1d(np.unique(compared.truth), np.unique(compared.predicted))
    entries = [(report.colors[k], printable(report.labels[k])) for k in occurring.tolist() if k < len(report.labels)]
    if (compared.truth == IGNORE).any():
        entries.append((IGNORED, "not counted"))
    entries.append((wrong_color(report.colors), "mistake"))
    return with_legend(four, ("photo", "mistakes", "truth", "prediction"), entries)


def wrong_color(colors: Sequence[Color]) -> Color:
    """The color for drawing mistakes: red, unless a class has a similar color."""

    def distance(choice: Color) -> float:
        return min((float(np.linalg.norm(np.subtract(choice, color))) for color in colors), default=APART)

    return next((choice for choice in CHOICES if distance(choice) >= APART), max(CHOICES, key=distance))


def with_legend(four: Image.Image, titles: Sequence[str], entries: Sequence[tuple[Color, str]]) -> Image.Image:
    """Four panels with their titles, and below them a legend of colored squares.

    Args:
        four: the panels, in two rows.
        titles: titles of the panels.
        entries: colors and texts of the legend.
    """
    font = ImageFont.load_default(TEXT_PX)
    line, square, gap = round(1.6 * TEXT_PX), TEXT_PX, TEXT_PX // 2
    places: list[tuple[int, int]] = []
    x, y = gap, four.height + gap
    for _, text in entries:
        width = square + gap + round(font.getlength(text)) + 2 * gap
        if x > gap and x + width > four.width:
            x, y = gap, y + line
        places.append((x, y))
        x += width
    canvas = Image.new("RGB", (four.width, y + line), "white")
    canvas.paste(four)
    pen = ImageDraw.Draw(canvas)
    for (x, y), (color, text) in zip(places, entries, strict=True):
        pen.rectangle((x, y, x + square, y + square), fill=color, outline=(120, 120, 120))
        pen.text((x + square + gap, y + square / 2), text, font=font, fill="black", anchor="lm")
    for i, title in enumerate(titles):
        x, y = i % 2 * four.width // 2, i // 2 * four.height // 2
        pen.rectangle((x, y, x + round(font.getlength(title)) + 2 * gap, y + line), fill=(0, 0, 0))
        pen.text((x + gap, y + line / 2), title, font=font, fill="white", anchor="lm")
    return canvas


def panels(photo: Image.Image, *, compared: Compared, colors: tuple[Color, ...]) -> Image.Image:
    """Four panels: the photo and its mistakes, the true classes and the predicted ones."""
    small = photo.convert("RGB")
    small.thumbnail((PANEL, PANEL))
    wrong = ((compared.truth != compared.predicted) & (compared.truth != IGNORE)).astype(np.uint8)
    size = small.size
    four = (
        small,
        overlay(small, wrong, ((0, 0, 0), wrong_color(colors)), opacity=0.75),
        _flat(compared.truth, colors, size),
        _flat(compared.predicted, colors, size),
    )
    whole = Image.new("RGB", (2 * size[0], 2 * size[1]))
    for i, panel in enumerate(four):
        whole.paste(panel, (i % 2 * size[0], i // 2 * size[1]))
    return whole


def _flat(classes: NDArray[np.uint8], colors: tuple[Color, ...], size: tuple[int, int]) -> Image.Image:
    return indexed(classes, colors).resize(size, Image.Resampling.NEAREST).convert("RGB")

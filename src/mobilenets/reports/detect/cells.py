"""The boxes behind the cells of a detector's confusion matrix, each cropped from its image with its surroundings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from PIL import Image

from mobilenets.evaluation.detect.evaluate import DetectionReport, Verdict
from mobilenets.evaluation.detect.truth import IGNORED
from mobilenets.reports.cells import cells, how_many
from mobilenets.reports.detect.colors import MISSED, OTHER, RIGHT, WRONG
from mobilenets.reports.page import SMALL, Cell, Fact, Shown, shown
from mobilenets.runtime.detect.draw import Mark, draw_marks

AROUND = 1.6  # side of the crop, in lengths of the box
LEAST = 32.0  # minimum of that side, px

Corners = tuple[float, float, float, float]
"""x0 y0 x1 y1, px."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A detection, an object, or both if one was confused with the other.

    Args:
        name: the image's name.
        rank: boxes with higher ranks are shown first.
        fact: the line below it.
        marks: what is drawn, in px of the image.
    """

    name: str
    rank: float
    fact: Fact
    marks: tuple[Mark, ...]


def cells_of(report: DetectionReport, read_image: Callable[[str], bytes]) -> tuple[Cell, ...]:
    """The clickable cells of the confusion matrix. Detections are shown by descending score, misses by descending area."""
    missed = nothing = len(report.labels)
    found: dict[tuple[int, int], list[_Box]] = defaultdict(list)
    for verdict in report.verdicts():
        for place, box in _boxes(verdict, missed):
            found[place].append(box)

    def title(i: int, j: int) -> str:
        truth = "background" if i == nothing else report.labels[i]
        return f"{truth}, missed" if j == missed else f"{truth}, detected {'right' if i == j else f'as {report.labels[j]}'}"

    def behind(i: int, j: int, most: int) -> tuple[str, list[Shown]]:
        own = sorted(found[i, j], key=lambda box: -box.rank)
        images = [
            shown(box.name, (box.fact,), read_image, partial(_cut_out, marks=box.marks), side=SMALL) for box in own[:most]
        ]
        noun, which = ("object", "largest") if j == missed else ("detection", "most confident")
        return how_many(len(own), noun, images, which), images

    return tuple(cells(report.confusion, title, behind))


def _boxes(verdict: Verdict, missed: int) -> Iterator[tuple[tuple[int, int], _Box]]:
    """Each box of an image with its row and column in the matrix."""
    truth = verdict.truth
    for (_, score, box), k, j in zip(verdict.shown.each(), verdict.shown.classes.tolist(), verdict.found.tolist(), strict=True):
        fact = Fact("score", f"{score:.1%}")
        if j >= 0:
            row = int(truth.classes[j])
            marks = _labeled(truth.boxes[j].tolist()), Mark(box, "", RIGHT if row == k else OTHER)
            yield (row, k), _Box(verdict.name, score, fact, marks)
        elif j != IGNORED:
            yield (missed, k), _Box(verdict.name, score, fact, (Mark(box, "", WRONG),))
    for j in verdict.missed.tolist():
        mark = _labeled(truth.boxes[j].tolist())
        x0, y0, x1, y1 = mark.box
        fact = Fact("size", f"{x1 - x0:.0f} x {y1 - y0:.0f} px")
        yield (int(truth.classes[j]), missed), _Box(verdict.name, (x1 - x0) * (y1 - y0), fact, (mark,))


def _labeled(corners: list[float]) -> Mark:
    x0, y0, x1, y1 = corners
    return Mark((x0, y0, x1, y1), "", MISSED, dashed=True)


def _cut_out(image: Image.Image, *, marks: tuple[Mark, ...]) -> Image.Image:
    """A square crop of the image centered on the marks, as far as the image reaches, with `SMALL` px on its longer side."""
    x0, y0, x1, y1 = (pick(mark.box[k] for mark in marks) for k, pick in enumerate((min, min, max, max)))
    side = max(LEAST, AROUND * max(x1 - x0, y1 - y0))
    left, right = _span((x0 + x1) / 2, side, image.width)
    top, bottom = _span((y0 + y1) / 2, side, image.height)
    scale = SMALL / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    part = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom), reducing_gap=3.0)
    return draw_marks(part, (_moved(mark, left, top, scale) for mark in marks), line_px=2)


def _span(middle: float, side: float, whole: int) -> tuple[float, float]:
    """Start and end of an interval of this length around a center, moved to lie inside the whole."""
    first = min(max(0.0, middle - side / 2), max(0.0, whole - side))
    return first, min(first + side, float(whole))


def _moved(mark: Mark, left: float, top: float, scale: float) -> Mark:
    x0, y0, x1, y1 = mark.box
    box = (x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale
    return Mark(box, mark.text, mark.color, mark.dashed)

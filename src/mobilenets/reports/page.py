"""`Page`: the content of a report for any task, which `html.py` and `markdown.py` write."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.evaluation.metric import Metric
from mobilenets.reports.plots import MATRIX, Plot, cell_id
from mobilenets.runtime.images.decode import decode_image

Context = Mapping[str, Mapping[str, object]]
"""Titled tables of facts about the run: {"Recipe": {"epochs": 30, ...}, "Data": {...}}."""

SHOWN, DRAWN, SMALL = 480, 960, 160
"""Longer side, px, of an ordinary image, of one with drawings on it, and of one among many in a cell."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about what the metrics mean.

    Args:
        text: the sentence.
        warning: whether it puts the metrics in doubt.
    """

    text: str
    warning: bool = True


@dataclass(frozen=True, slots=True)
class Fact:
    """A line below an image.

    Args:
        word: its subject, such as "predicted" or "truth".
        text: its text.
        tone: whether it is good or bad.
    """

    word: str
    text: str
    tone: Literal["good", "bad", ""] = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image shown on the page.

    Args:
        name: its name.
        facts: the lines below it.
        jpeg: the image, downsized, as JPEG; empty if it cannot be read any more.
        looked: the same with its occlusion map; empty if there is none.
    """

    name: str
    facts: tuple[Fact, ...]
    jpeg: bytes
    looked: bytes = b""

    @property
    def uri(self) -> str:
        """The image as a data URI; "" if there is none."""
        return _uri(self.jpeg)

    @property
    def looked_uri(self) -> str:
        """The image with its occlusion map as a data URI; "" if there is none."""
        return _uri(self.looked)


@dataclass(frozen=True, slots=True)
class Cell:
    """The images behind one cell of the confusion matrix.

    Args:
        place: row and column.
        title: what the images have in common.
        note: how many images there are, and which of them are shown.
        shown: some of the images.
    """

    place: tuple[int, int]
    title: str
    note: str
    shown: tuple[Shown, ...]

    @property
    def anchor(self) -> str:
        """The id of the images on the page."""
        return f"{MATRIX}-{cell_id(*self.place)}"


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text.

    Args:
        title: its heading.
        columns: the heads of the columns.
        rows: the cells of each row, as many as there are columns.
        words: how many of the first columns contain text; the others contain numbers and are right-aligned.
        note: a line below the heading.
        most: maximum number of rows on the page; report.json and report.md have all rows.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True)
class Content:
    """The part of a report that depends on the task.

    Args:
        subtitle: what was evaluated, in one line.
        headline: the heading above the images with mistakes.
        introduction: the text above these images, or instead of them if there are none.
        shown: the images with mistakes.
        plots: the plots, in order.
        tables: the tables below the plots.
        wide: whether the images are shown large.
        right: images without mistakes, for comparison.
        cells: the images behind the clickable cells of the confusion matrix.
        legend: a sentence that explains what is drawn on the images of the cells.
    """

    subtitle: str
    headline: str
    introduction: str
    shown: tuple[Shown, ...]
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]
    wide: bool = False
    right: tuple[Shown, ...] = ()
    cells: tuple[Cell, ...] = ()
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """The part of a report, besides its metrics, that the command line prints.

    Args:
        worst: the images with the worst mistakes, the worst first.
        tables: other tables.
    """

    worst: Table
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Args:
        title: the title of the page.
        metrics: the metrics, the most important one first.
        content: the part that depends on the task.
        speed: the speed of the evaluation, in words.
        unreadable: name and reason of each image that could not be read.
        context: tables of facts about the run.
        next_command: the command to type next.
        remarks: sentences about what the metrics mean.
    """

    title: str
    metrics: Sequence[Metric]
    content: Content
    speed: str = ""
    unreadable: Sequence[tuple[str, str]] = ()
    context: Context = field(default_factory=dict)
    next_command: str = ""
    remarks: Sequence[Remark] = ()


def shown(
    name: str,
    facts: tuple[Fact, ...],
    read_image: Callable[[str], bytes],
    drawn: Callable[[Image.Image], Image.Image] | None = None,
    *,
    side: int = 0,
) -> Shown:
    """The image with this name, downsized for the page.

    Args:
        name: the image's name.
        facts: the lines below it.
        read_image: returns the encoded image of a name.
        drawn: draws on the image at its full size; None to leave it as it is.
        side: the longer side of the result, px; `SHOWN` or `DRAWN` by default.
    """
    side = side or (DRAWN if drawn else SHOWN)
    try:
        image = decode_image(read_image(name), at_least=None if drawn else side)
    except (ImageError, OSError):
        return Shown(name, facts, b"")
    if drawn is not None:
        image = drawn(image)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return Shown(name, facts, buffer.getvalue())


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() if jpeg else ""

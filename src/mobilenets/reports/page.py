"""`Page`: a report for people, whatever was evaluated; `html.py` and `markdown.py` write it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.evaluation.metric import Metric
from mobilenets.reports.plots import Plot
from mobilenets.runtime.images.decode import decode_image

Context = Mapping[str, Mapping[str, object]]
"""Titled tables of facts about the run: {"Recipe": {"epochs": 30, ...}, "Data": {...}}."""

SHOWN, DRAWN, SMALL = 480, 960, 112
"""Longer side, px, of a shown image, of one with something drawn on it, and of one among many of its kind."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about what the figures mean.

    Args:
        text: for people.
        warning: whether it puts the figures in doubt.
    """

    text: str
    warning: bool = True


@dataclass(frozen=True, slots=True)
class Fact:
    """A line below an image.

    Args:
        word: what it is about: "predicted", "truth".
        text: what there is to say.
        tone: whether that is good or bad.
    """

    word: str
    text: str
    tone: Literal["good", "bad", ""] = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image that is worth a look.

    Args:
        name: of its file.
        facts: what there is to see.
        jpeg: the image, small; empty if it cannot be read any more.
    """

    name: str
    facts: tuple[Fact, ...]
    jpeg: bytes

    @property
    def uri(self) -> str:
        """The image as a data URI; "" if there is none."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode() if self.jpeg else ""


@dataclass(frozen=True, slots=True)
class Cell:
    """Images behind one cell of the confusion matrix.

    Args:
        anchor: the id that the cell links to.
        title: what they have in common.
        total: how many there are.
        shown: some of them.
    """

    anchor: str
    title: str
    total: int
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text.

    Args:
        title: its heading.
        columns: their heads.
        rows: the cells, as many as there are columns.
        words: how many of the first columns are words; the rest are numbers, which are aligned right.
        note: below the heading.
        most: rows that the page shows; the others are in report.json and report.md.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True)
class Content:
    """What a report of one kind has to say.

    Args:
        subtitle: what was evaluated, in one line.
        headline: of the images with mistakes.
        introduction: above them, or instead of them if there are none.
        shown: the images with mistakes.
        plots: in their order.
        tables: below the plots.
        wide: whether the images are shown large.
        right: images without a mistake, for comparison.
        cells: the images behind each cell of the confusion matrix.
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


@dataclass(frozen=True, slots=True)
class Brief:
    """What the command line says about a report besides its metrics.

    Args:
        worst: the images to look at first, the worst first.
        tables: others.
    """

    worst: Table
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Args:
        title: of the page.
        metrics: the first one is the most important.
        content: of the kind of report.
        speed: of the evaluation, in words.
        unreadable: name and reason of each image that could not be read.
        context: facts about the run.
        next_command: to type next.
        remarks: what the figures mean.
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
    """The image of that name, small.

    Args:
        facts: below it.
        read_image: its encoded bytes.
        drawn: the image at its full size with something drawn on it.
        side: the longer side, px; `SHOWN` or `DRAWN` by default.
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

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

SHOWN, DRAWN = 480, 960  # px, longer side of a shown image, and of one with something drawn on it


@dataclass(frozen=True, slots=True)
class Fact:
    """A line below an image.

    Args:
        word: what it is about: "said", "truth".
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
        jpeg: the image, small; empty where it cannot be read any more.
    """

    name: str
    facts: tuple[Fact, ...]
    jpeg: bytes

    @property
    def uri(self) -> str:
        """The image as a data URI; "" where there is none."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode() if self.jpeg else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text.

    Args:
        title: its heading.
        columns: their heads.
        rows: the cells, as many as there are columns.
        words: how many of the first columns are words; the rest are numbers, which stand to the right.
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
        headline: of the images.
        introduction: above the images, or instead of them where there are none.
        shown: the images.
        plots: in their order.
        tables: below the plots.
        wide: whether the images are shown large.
    """

    subtitle: str
    headline: str
    introduction: str
    shown: tuple[Shown, ...]
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Brief:
    """What the command line tells of a report besides its metrics.

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
        metrics: the first one is the one that matters most.
        content: of the kind of report.
        speed: of the evaluation, in words.
        unreadable: name and reason of each image that could not be read.
        context: facts about the run.
        next_command: to type next.
    """

    title: str
    metrics: Sequence[Metric]
    content: Content
    speed: str = ""
    unreadable: Sequence[tuple[str, str]] = ()
    context: Context = field(default_factory=dict)
    next_command: str = ""


def shown(
    name: str,
    facts: tuple[Fact, ...],
    read_image: Callable[[str], bytes],
    drawn: Callable[[Image.Image], Image.Image] | None = None,
) -> Shown:
    """The image of that name, small.

    Args:
        facts: below it.
        read_image: its encoded bytes.
        drawn: the image at its full size with something drawn on it.
    """
    try:
        image = decode_image(read_image(name), at_least=None if drawn else SHOWN)
    except (ImageError, OSError):
        return Shown(name, facts, b"")
    if drawn is not None:
        image = drawn(image)
    side = DRAWN if drawn else SHOWN
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return Shown(name, facts, buffer.getvalue())

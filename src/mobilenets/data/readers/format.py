"""`Format`: one way to keep labeled images. A reader module ends in its own `FORMAT`, and `readers.table` lists them.

To read a layout of your own, write such a record and pass a table that has it to `open_dataset`:

    formats = Table("data format", {"mine": Format("a folder with mine.txt", fits, read), **FORMATS})
    dataset = open_dataset("folder", formats=formats)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.entries import Listing
from mobilenets.data.source import Source
from mobilenets.specs.model import Task


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says about a source besides where it is.

    Args:
        group: the column that names groups; None for the one called "group".
        classes: names of the classes of masks, or a file of them; "" for what the source says.
        ignore: names, values or colors of mask classes that are not counted.
    """

    group: str | None = None
    classes: str | Path | Sequence[str] = ""
    ignore: tuple[str, ...] = ()


NOTHING = Asked()


@dataclass(frozen=True, slots=True)
class Format:
    """One way to keep labeled images.

    Args:
        title: what a source looks like, for messages and documentation.
        fits: whether a source looks like that. It opens no more than a few small files.
        read: lists the images of a source that fits.
        task: what the images can teach.
        options: fields of `Asked` that this format uses.
    """

    title: str
    fits: Callable[[Source], bool]
    read: Callable[[Source, Asked], Listing]
    task: Task = "classify"
    options: tuple[str, ...] = ()

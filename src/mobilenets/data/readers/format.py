"""`Format`: one format of datasets. A reader module ends with its own `FORMAT`, and `readers.table` lists them.

To read a format of your own, write such a record and pass a table that contains it to `open_dataset`:

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
    """What the user says about a source besides its path.

    Args:
        group: the column that names groups; None for the column called "group".
        classes: class names of masks, or a file with them; "" for the names in the source.
        ignore: names, values or colors of mask classes to ignore.
        task: what to learn; None for what the source suggests.
    """

    group: str | None = None
    classes: str | Path | Sequence[str] = ""
    ignore: tuple[str, ...] = ()
    task: Task | None = None


NOTHING = Asked()


@dataclass(frozen=True, slots=True)
class Format:
    """One format of datasets.

    Args:
        title: what a source looks like, for messages and documentation.
        fits: whether a source looks like that. It opens only a few small files.
        read: lists the images of a source that fits.
        task: the task that the dataset is for; None if its content or the user decides.
        options: fields of `Asked` that this format uses.
    """

    title: str
    fits: Callable[[Source], bool]
    read: Callable[[Source, Asked], Listing]
    task: Task | None = "classify"
    options: tuple[str, ...] = ()

"""`Entry` and `Listing`: what a reader finds, before labels are numbered and splits are filled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.faults import Fault
from mobilenets.data.masks import Mask
from mobilenets.data.samples import Split
from mobilenets.specs.model import Task

# fmt: off
SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm",
    ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
))
# fmt: on
"""File name endings, lower case, of the formats that `runtime.image.decode` reads."""

SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, lower case."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image as a source lists it.

    Args:
        path: the image file, or the tar file that holds it.
        label: name of its class; "" where the answer is boxes or a mask.
        name: unique in the source; reports use it.
        split: None where the source leaves it open.
        weight, group, member, url, mask, stated, checksum: as in `Sample`.
        stratum: splits keep the shares of strata inside a class; "" for none.
        boxes: the objects in the image, for detection.
    """

    path: Path
    label: str
    name: str
    split: Split | None = None
    weight: float = 1.0
    group: str = ""
    member: tuple[int, int] | None = None
    stratum: str = ""
    url: str = ""
    boxes: tuple[NamedBox, ...] = ()
    mask: Mask | None = None
    stated: tuple[int, int] | None = None
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a reader found in one source.

    Args:
        entries: every image, in an order that does not depend on the file system.
        labels: class names in their order.
        name: of the dataset, for display.
        notes: what the reader decided, each a line for people.
        ignored: files that lie among the images and are none by their name.
        val, test: shares that are customary for this source.
        task: what is to be predicted.
        colors: red, green, blue of each label, 0 to 255, where the source says so.
        faults: what was read past.
    """

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()
    ignored: tuple[Path, ...] = ()
    val: float = 0.15
    test: float = 0.15
    task: Task = "classify"
    colors: tuple[tuple[int, int, int], ...] = ()
    faults: tuple[Fault, ...] = ()


def image_files(folder: Path) -> Iterator[Path]:
    """Image files below a folder by their names' endings, folder after folder, hidden ones left out."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES:  # noqa: PTH122  # no Path per file
                yield Path(place, file)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, sorted: by value where all are whole numbers, else by name.

    >>> in_order(["10", "9"]), in_order(["b", "a", "b"])
    (('9', '10'), ('a', 'b'))
    """
    distinct = set(labels)
    if all(label.isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))

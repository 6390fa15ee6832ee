"""`Entry` and `Listing`: the images that a reader finds, before labels become indices and splits are assigned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.faults import Fault
from mobilenets.data.masks import Mask
from mobilenets.data.samples import Split
from mobilenets.data.walk import SUFFIXES, suffix_of, walk
from mobilenets.specs.model import Task

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
"""Usual names of the splits, in lower case."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image, as a reader lists it.

    Args:
        path: the image file, or the tar file that contains it.
        label: the name of its class; "" if it has boxes or a mask instead.
        name: its name in reports, which is unique in the source.
        split: its split; None if the source does not define one.
        weight, group, member, url, mask, stated, checksum: as in `Sample`.
        stratum: the part of its class whose share is the same in every split; "" for none.
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
        labels: the class names, in order.
        name: the dataset's name, for display.
        notes: what the reader decided, one line each for people to read.
        ignored: files among the images that do not have the name of an image.
        val, test: the usual shares of these splits for this source.
        task: the task that the dataset is for.
        colors: red, green and blue of each label, 0 to 255, if the source states them.
        faults: what was left out or corrected.
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
    """The image files below a folder, recognized by their endings, folder by folder. `walk` says which files are skipped."""
    for inner in walk(folder):
        for name in inner.files:
            if suffix_of(name) in SUFFIXES:
                yield folder / inner.path / name


def split_in(path: str) -> Split | None:
    """The split that the folders of a path name; None if they name no split, or several.

    >>> split_in("set/Train/images/a.jpg"), split_in("train/test/a.jpg")
    ('train', None)
    """
    named = {SPLIT_WORDS[part] for part in path.lower().split("/")[:-1] if part in SPLIT_WORDS}
    return named.pop() if len(named) == 1 else None


def split_word(name: str) -> Split | None:
    """The split that is a word in the name of a file or folder; None if there is no such word, or several.

    >>> split_word("instances_train2017"), split_word("seg_test"), split_word("trainers"), split_word("train_val")
    ('train', 'test', None, None)
    """
    named = {SPLIT_WORDS[word] for word in re.findall("[a-z]+", name.lower()) if word in SPLIT_WORDS}
    return named.pop() if len(named) == 1 else None


def all_or_none(splits: Iterable[Split | None]) -> list[Split | None]:
    """The splits, if every image has one; otherwise None for all of them."""
    listed = list(splits)
    return listed if all(listed) else [None] * len(listed)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels, sorted by value if all are whole numbers, and by name otherwise.

    >>> in_order(["10", "9"]), in_order(["b", "a", "b"])
    (('9', '10'), ('a', 'b'))
    """
    distinct = set(labels)
    if all(label.isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))

"""`Finding`, one problem in a dataset, and the tables of all kinds of findings: level, heading and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from mobilenets.data.faults import EMPTY

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in a dataset.

    Args:
        level: an "error" spoils training or its metrics, a "warning" may do so, and "info" is good to know.
        code: the kind of problem, for programs: a key of `CODES`.
        message: the problem in words, to be read after the names of the files.
        files: names of the images that have it.
    """

    level: Level
    code: str
    message: str
    files: tuple[str, ...] = ()


# fmt: off
CODES: dict[str, tuple[Level, str]] = {  # in the order of a report
    "no-training":    ("error",   "no training images"),
    "no-boxes":       ("error",   "no boxes"),
    "one-class":      ("error",   "a single class"),
    "unreadable-folder": ("error", "folders that cannot be opened"),
    "missing":        ("error",   "files that do not exist"),
    "unreadable":     ("error",   "files that cannot be read"),
    "empty":          ("error",   "empty files"),
    "not-an-image":   ("error",   "files that are not images"),
    "truncated":      ("error",   "truncated images"),
    "damaged":        ("error",   "damaged images"),
    "bomb":           ("error",   "decompression bombs"),
    "untrained":      ("error",   "classes without a training image"),
    "swapped":        ("error",   "boxes with swapped corners"),
    "no-area":        ("error",   "boxes without area"),
    "outside":        ("error",   "boxes outside their image"),
    "unknown-class":  ("error",   "boxes of an unknown class"),
    "stated-size":    ("error",   "images whose size differs from their annotation"),
    "mask-unreadable": ("error",  "masks that cannot be read"),
    "mask-size":      ("error",   "masks whose size differs from their image"),
    "mask-values":    ("error",   "masks with values that belong to no class"),
    "split-twice":    ("error",   "images that are listed in two splits"),
    "leak":           ("error",   "the same image in two splits"),
    "near-leak":      ("error",   "images that look the same in two splits"),
    "conflict":       ("error",   "the same image with two labels"),
    "contradiction":  ("warning", "descriptions that contradict themselves or their images"),
    "same-name":      ("warning", "images that share one annotation"),
    "unannotated":    ("warning", "images without an annotation file"),
    "stray":          ("warning", "annotations without an image"),
    "link-loop":      ("warning", "links that lead back to themselves"),
    "encoding":       ("warning", "text files that are not UTF-8"),
    "beyond":         ("warning", "boxes that reach beyond their image"),
    "box-twice":      ("warning", "objects that are boxed twice"),
    "box-conflict":   ("warning", "objects that are boxed as two classes"),
    "too-small":      ("warning", "objects too small for the network's input"),
    "uncovered":      ("warning", "objects that no anchor comes close to"),
    "unmatched":      ("warning", "classes that few anchors match"),
    "near-conflict":  ("warning", "images that look the same with two labels"),
    "mask-lossy":     ("warning", "masks whose values were mixed, by a lossy format or by resizing"),
    "mask-empty":     ("warning", "masks that ignore every pixel"),
    "unseen":         ("warning", "classes that no training mask shows"),
    "absent":         ("warning", "classes without an image in val or test"),
    "own-labels":     ("warning", "labels that are not classes"),
    "instances":      ("warning", "masks of objects, not of classes"),
    "few":            ("warning", "classes with few images"),
    "imbalance":      ("warning", "imbalance"),
    "rare":           ("warning", "classes with very few pixels"),
    "duplicate":      ("warning", "the same image twice in one split"),
    "extension":      ("warning", "files with the extension of another format"),
    "hidden":         ("warning", "images that are skipped because of their name"),
    "dark":           ("warning", "images that are almost black, as 12-bit values in a 16-bit color file are"),
    "blank":          ("warning", "images of a single tone"),
    "small":          ("warning", "images much smaller than the network's input"),
    "long":           ("warning", "very long or very tall images"),
    "near-duplicate": ("info",    "images that look the same in one split"),
    "no-objects":     ("info",    "images without objects"),
    "masks-sampled":  ("info",    "masks that were not checked"),
    "special-file":   ("info",    "pipes, sockets and devices, which are skipped"),
    "ignored":        ("info",    "files whose name is not that of an image"),
}
"""Every code with its level and its heading."""

WRITTEN = frozenset((
    "missing", "unreadable", "empty", "not-an-image", "truncated", "damaged", "bomb", "leak", "near-leak", "conflict",
))
"""Errors that the list of `check --write` is free of: broken images and conflicts are left out, and images that look alike
share a group, so that they end up in one split."""

CURES: dict[str, str] = {
    "no-training":    "add images, or give `train` splits that leave some to train on",
    "no-boxes":       EMPTY,
    "one-class":      "add a second class: a folder of images, or the background of masks; are the labels elsewhere?",
    "unreadable-folder": "change the permissions of the folder, or leave it out",
    "untrained":      "move images of these classes into train, or leave the classes out",
    "swapped":        "`train` exchanges the corners; correct the annotations of val and test",
    "no-area":        "`train` drops them; correct the annotations of val and test",
    "outside":        "`train` drops them; were the images resized or turned after they were annotated?",
    "unknown-class":  "add the class to the dataset's list of classes, or remove the boxes",
    "stated-size":    "annotate these images again, or restore the files that were annotated",
    "mask-unreadable": "save these masks again as PNG, or `train --skip-bad` leaves their images out",
    "mask-size":      "save each mask at the size of its image, resized with nearest neighbor",
    "mask-values":    "name every value with --classes, or leave values out with --ignore",
    "split-twice":    "list each image in one split",
}
"""What to do about each of the other errors."""
# fmt: on


def finding(code: str, message: str, files: Iterable[str] = ()) -> Finding:
    """A finding with the level of its code."""
    return Finding(CODES[code][0], code, message, tuple(files))


def in_brief(items: Iterable[Finding], *, most: int = 2) -> list[str]:
    """The findings in a few lines: the first few of each code, file first, and how many more there are.

    >>> in_brief([Finding("warning", "extension", "is PNG", (name,)) for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")])
    ['a.jpg: is PNG', 'b.jpg: is PNG', 'and 2 more files with the extension of another format']
    """
    lines = []
    for code, group in groupby(items, key=lambda item: item.code):
        same = list(group)
        for item in same[:most]:
            others = f" and {len(item.files) - 1:,} more" if len(item.files) > 1 else ""
            lines.append(f"{item.files[0]}{others}: {item.message}" if item.files else item.message)
        if len(same) > most:
            lines.append(f"and {len(same) - most:,} more {CODES[code][1]}")
    return lines


def in_order(items: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order of `CODES`: errors first."""
    order = {code: i for i, code in enumerate(CODES)}
    return tuple(sorted(items, key=lambda item: order[item.code]))

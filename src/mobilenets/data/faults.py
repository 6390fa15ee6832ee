"""`Fault`: a mistake in a dataset that a reader skipped or corrected, and that `check` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultCode = Literal[
    "contradiction",
    "encoding",
    "link-loop",
    "same-name",
    "special-file",
    "split-twice",
    "stray",
    "unannotated",
    "unknown-class",
    "unreadable-folder",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a dataset.

    Args:
        code: "contradiction": a description that disagrees with itself or with its images; "encoding": a text file that is
            not UTF-8; "link-loop": a link that is not followed; "same-name": two images that share one annotation;
            "special-file": a pipe, socket or device; "split-twice": an image in two splits; "stray": an annotation without
            its image; "unannotated": an image without an annotation; "unknown-class": a box of a class that the dataset
            does not list; "unreadable-folder": a folder that cannot be opened.
        message: what is wrong, to be read after the file's name.
        file: the file's path, relative to the dataset's folder.
    """

    code: FaultCode
    message: str
    file: str


EMPTY = "annotate the objects, or export the annotations again: were they saved where they were drawn?"
"""What to do about annotations that show no object on any image."""

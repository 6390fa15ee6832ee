"""`Fault`: what a reader found wrong and read past, for `check` to name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultCode = Literal["unannotated", "stray", "unknown-class", "split-twice"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a reader read past.

    Args:
        code: "unannotated": an image without an annotation file; "stray": an annotation without its image;
            "unknown-class": a box of a class that the dataset does not list; "split-twice": an image in two splits.
        message: in words, after the file's name.
        file: the file it is about, below the dataset's folder.
    """

    code: FaultCode
    message: str
    file: str

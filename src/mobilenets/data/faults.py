"""`Fault`: what a reader found wrong and read past, for `check` to name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultCode = Literal["unannotated", "stray", "unknown-class", "split-twice"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a reader read past.

    Args:
        code: "unannotated": a picture without an annotation file; "stray": an annotation without its picture;
            "unknown-class": a box of a class that the data set does not list; "split-twice": a picture in two splits.
        message: in words, after the file's name.
        file: the file it is about, below the data set's folder.
    """

    code: FaultCode
    message: str
    file: str

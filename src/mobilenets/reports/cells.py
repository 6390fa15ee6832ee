"""The cells of a confusion matrix that open the images behind them: which ones do, and how many images each shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.data.text import counted
from mobilenets.reports.page import Cell, Shown
from mobilenets.reports.plots import CELLS_WITH_NUMBERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_OF_CELL, MOST_OF_CELLS = 6, 200
"""Images shown behind one cell of the confusion matrix, and behind all of them; so the page stays small."""

Behind = Callable[[int, int, int], tuple[str, Sequence[Shown]]]
"""Takes row, column and how many images to show at most; returns what there is, in words, and the images."""


def cells(counts: NDArray[np.int64], title: Callable[[int, int], str], behind: Behind) -> Iterator[Cell]:
    """The cells that open, row by row.

    Args:
        counts: the numbers in the matrix; those that are not 0 may open.
        title: says what the images of a row and a column have in common.
        behind: the images of a cell.
    """
    places = opened(counts)
    most = min(MOST_OF_CELL, max(1, MOST_OF_CELLS // max(1, len(places))))
    for i, j in places:
        note, images = behind(i, j, most)
        if images:
            yield Cell((i, j), title(i, j), note, tuple(images))


def opened(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The cells with the highest numbers, row by row; none if there are too many classes for numbers in the cells."""
    if len(counts) > CELLS_WITH_NUMBERS:
        return []
    fullest = np.sort(np.argsort(-counts, axis=None, kind="stable")[:MOST_OF_CELLS])
    return [divmod(k, counts.shape[1]) for k in fullest.tolist() if counts.flat[k]]


def how_to_open(counts: NDArray[np.int64], behind: Sequence[Cell]) -> str:
    """A sentence for the caption of the matrix; empty if no cell opens."""
    if not behind:
        return ""
    which = "a cell" if len(behind) == np.count_nonzero(counts) else f"one of the {len(behind)} fullest cells"
    return f" Select {which} to see its images, at most {max(len(cell.shown) for cell in behind)}."


def how_many(total: int, noun: str, images: Sequence[Shown], which: str) -> str:
    """How many there are of what is counted and, if not all are shown, which of them are.

    Args:
        total: how many there are.
        noun: what is counted.
        images: those that are shown.
        which: what distinguishes these, such as "most confident".
    """
    some = "" if total <= len(images) else f", the {which}" if len(images) == 1 else f", the {len(images)} {which}"
    return counted(total, noun) + some


def predicted_as(labels: Sequence[str]) -> Callable[[int, int], str]:
    """The titles of cells whose rows and columns have the same labels."""

    def title(i: int, j: int) -> str:
        return f"{labels[i]}, predicted right" if i == j else f"{labels[i]}, predicted as {labels[j]}"

    return title

"""The clickable cells of a confusion matrix: which ones show the images behind them, and how many images each."""

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
"""Maximum number of images shown for one cell of the confusion matrix, and for all of them, to keep the page small."""

Behind = Callable[[int, int, int], tuple[str, Sequence[Shown]]]
"""Takes a row, a column and a maximum number of images; returns what there is, in words, and the images."""


def cells(counts: NDArray[np.int64], title: Callable[[int, int], str], behind: Behind) -> Iterator[Cell]:
    """The clickable cells, row by row.

    Args:
        counts: the numbers in the matrix; only cells above 0 can be clickable.
        title: describes what the images of a row and a column have in common.
        behind: returns the images of a cell.
    """
    places = opened(counts)
    most = min(MOST_OF_CELL, max(1, MOST_OF_CELLS // max(1, len(places))))
    for i, j in places:
        note, images = behind(i, j, most)
        if images:
            yield Cell((i, j), title(i, j), note, tuple(images))


def opened(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The cells with the highest numbers, row by row; none if the matrix has too many classes to print numbers in its cells."""
    if len(counts) > CELLS_WITH_NUMBERS:
        return []
    fullest = np.sort(np.argsort(-counts, axis=None, kind="stable")[:MOST_OF_CELLS])
    return [divmod(k, counts.shape[1]) for k in fullest.tolist() if counts.flat[k]]


def how_to_open(counts: NDArray[np.int64], behind: Sequence[Cell]) -> str:
    """A sentence for the caption of the matrix; empty if no cell is clickable."""
    if not behind:
        return ""
    which = "a cell" if len(behind) == np.count_nonzero(counts) else f"one of the {len(behind)} fullest cells"
    return f" Select {which} to see its images, at most {max(len(cell.shown) for cell in behind)}."


def how_many(total: int, noun: str, images: Sequence[Shown], which: str) -> str:
    """How many items there are and, if not all are shown, which ones are.

    Args:
        total: number of items.
        noun: name of the items.
        images: the shown images.
        which: what distinguishes the shown ones, such as "most confident".
    """
    some = "" if total <= len(images) else f", the {which}" if len(images) == 1 else f", the {len(images)} {which}"
    return counted(total, noun) + some


def predicted_as(labels: Sequence[str]) -> Callable[[int, int], str]:
    """The titles of cells whose rows and columns have the same labels."""

    def title(i: int, j: int) -> str:
        return f"{labels[i]}, predicted right" if i == j else f"{labels[i]}, predicted as {labels[j]}"

    return title

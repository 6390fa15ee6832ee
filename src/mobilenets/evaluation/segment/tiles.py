"""Tiles: for each cell of a segmenter's confusion matrix, the parts of images with the most of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 20
"""Classes that may occur; of more, no tiles are kept."""

MOST_TILES, MOST_SIDE = 6, 160
"""Tiles of a cell that are kept, and the longer side of what is kept of one, px."""

_BLOCKS = 8  # of the shorter side of an image; a tile is half of them wide and high


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of an image.

    Args:
        name: of the image.
        pixels: of the whole image that belong to the cell.
        box: x0 y0 x1 y1, px of the image.
        inside: which pixels of the part belong to the cell, made smaller: h w.
    """

    name: str
    pixels: int
    box: tuple[int, int, int, int]
    inside: NDArray[np.bool_]


Tiles = Mapping[tuple[int, int], tuple[Tile, ...]]
"""Of each cell `[true class, predicted class]`, the tile with the most pixels first."""


def tiles_of(
    name: str, matrix: NDArray[np.int64], truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, beside: Tiles
) -> Tiles:
    """A tile of each cell in which an image has more pixels than one of those whose tiles are kept.

    Args:
        name: of the image.
        matrix: its pixels `[true class, predicted class]`.
        truth, predicted: the class of each pixel, H W.
        beside: the tiles that are kept so far.
    """
    found: dict[tuple[int, int], tuple[Tile, ...]] = {}
    for i, j in np.argwhere(matrix).tolist():
        kept = beside.get((i, j), ())
        pixels = int(matrix[i, j])
        if len(kept) < MOST_TILES or pixels > kept[-1].pixels:
            inside = (truth == i) & (predicted == j)
            box = _fullest(inside)
            found[i, j] = (Tile(name, pixels, box, _small(inside[box[1] : box[3], box[0] : box[2]])),)
    return found


def merged(tiles: Tiles, more: Tiles) -> Tiles:
    """Those with the most pixels of both."""
    both = {cell: sorted((*tiles.get(cell, ()), *of_cell), key=lambda tile: -tile.pixels) for cell, of_cell in more.items()}
    return {**tiles, **{cell: tuple(of_cell[:MOST_TILES]) for cell, of_cell in both.items()}}


def _fullest(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The square with the most of these pixels, half as high as the shorter side of the image: x0 y0 x1 y1."""
    height, width = inside.shape
    step = max(1, min(inside.shape) // _BLOCKS)
    blocks = np.add.reduceat(inside, np.arange(0, height, step), axis=0, dtype=np.int64)
    blocks = np.add.reduceat(blocks, np.arange(0, width, step), axis=1)
    across = min(_BLOCKS // 2, *blocks.shape)
    sums = np.lib.stride_tricks.sliding_window_view(blocks, (across, across)).sum(axis=(2, 3))
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    side = across * step
    return column * step, row * step, min(column * step + side, width), min(row * step + side, height)


def _small(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every so many rows and columns, so that no side is above `MOST_SIDE`."""
    step = -(-max(inside.shape) // MOST_SIDE)
    return inside[step // 2 :: step, step // 2 :: step].copy()

"""Example tiles: for each cell of a segmenter's confusion matrix, the parts of images with the most of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 20
"""If more classes than this occur, no tiles are kept."""

MOST_TILES, MOST_SIDE = 6, 160
"""Number of tiles kept per cell, and the longer side of the mask that is kept of each, px."""

_BLOCKS = 8  # along the shorter side of an image; a tile is half as many blocks wide and high


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of an image.

    Args:
        name: the image's name.
        pixels: number of pixels of the whole image that belong to the cell.
        box: x0 y0 x1 y1, px of the image.
        inside: which pixels of the tile belong to the cell, subsampled: h w.
    """

    name: str
    pixels: int
    box: tuple[int, int, int, int]
    inside: NDArray[np.bool_]


Tiles = Mapping[tuple[int, int], tuple[Tile, ...]]
"""The tiles of each cell `[true class, predicted class]`, those with the most pixels first."""


def tiles_of(
    name: str, matrix: NDArray[np.int64], truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, beside: Tiles
) -> Tiles:
    """A new tile for each cell in which this image has more pixels than one of the kept tiles.

    Args:
        name: the image's name.
        matrix: its pixels per `[true class, predicted class]`.
        truth, predicted: the class of each pixel, H W.
        beside: the tiles kept so far.
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
    """The tiles with the most pixels from both."""
    both = {cell: sorted((*tiles.get(cell, ()), *of_cell), key=lambda tile: -tile.pixels) for cell, of_cell in more.items()}
    return {**tiles, **{cell: tuple(of_cell[:MOST_TILES]) for cell, of_cell in both.items()}}


def _fullest(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The square that contains the most of these pixels, half as high as the image's shorter side: x0 y0 x1 y1."""
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
    """Every n-th row and column, so that no side exceeds `MOST_SIDE`."""
    step = -(-max(inside.shape) // MOST_SIDE)
    return inside[step // 2 :: step, step // 2 :: step].copy()

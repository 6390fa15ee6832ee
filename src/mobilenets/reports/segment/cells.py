"""The parts of images behind the cells of a segmenter's confusion matrix, with the pixels of the cell in color."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from mobilenets.data.text import counted
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.evaluation.segment.tiles import Tile
from mobilenets.reports.cells import cells, predicted_as
from mobilenets.reports.page import SMALL, Cell, Fact, Shown, shown
from mobilenets.reports.segment.plots import occurring, percents_of
from mobilenets.runtime.segment.draw import overlay
from mobilenets.runtime.segment.palette import Color

RIGHT: Color = (47, 111, 228)
WRONG: Color = (226, 54, 40)
"""Red for wrong pixels, as in the matrix, where right cells are blue."""

OPACITY = 0.6


def cells_of(report: SegmentationReport, read_image: Callable[[str], bytes]) -> tuple[Cell, ...]:
    """The clickable cells of the confusion matrix, with the images that contribute most of their pixels."""
    classes = occurring(report)

    def behind(i: int, j: int, most: int) -> tuple[str, list[Shown]]:
        tiles = report.tiles.get((classes[i], classes[j]), ())[:most]
        color = RIGHT if i == j else WRONG
        images = [
            shown(
                tile.name,
                (Fact("pixels", f"{tile.pixels:,} px"),),
                read_image,
                partial(_cut_out, tile=tile, color=color),
                side=SMALL,
            )
            for tile in tiles
        ]
        total = counted(int(report.confusion[classes[i], classes[j]]), "pixel")
        most_of_it = "the image with the most" if len(images) == 1 else f"the {len(images)} images with the most"
        return f"{total}, {most_of_it}", images

    return tuple(cells(percents_of(report), predicted_as([report.labels[k] for k in classes]), behind))


def _cut_out(photo: Image.Image, *, tile: Tile, color: Color) -> Image.Image:
    """The part of the photo with the cell's pixels in a color, with `SMALL` px on its longer side."""
    x0, y0, x1, y1 = tile.box
    scale = SMALL / max(x1 - x0, y1 - y0)
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    part = photo.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=tile.box, reducing_gap=3.0)
    return overlay(part, tile.inside.astype(np.uint8), ((0, 0, 0), color), opacity=OPACITY)

"""Drawing of segmentations: the classes as a palette image, and their colors over a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mobilenets.runtime.segment.palette import Color

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED: Color = (224, 224, 192)
"""The color of ignored pixels, value 255, as in VOC."""

OPACITY = 0.6
_ROWS = 1024  # rows of a large image that are blended at once


def indexed(classes: NDArray[np.uint8], colors: Sequence[Color]) -> Image.Image:
    """The classes, H W, as a palette image, to be saved as PNG: its pixel values are the classes, its palette their colors."""
    image = Image.fromarray(np.ascontiguousarray(classes))
    image.putpalette(_palette(colors))
    return image


def overlay(
    photo: Image.Image, classes: NDArray[np.uint8], colors: Sequence[Color], *, opacity: float = OPACITY
) -> Image.Image:
    """The photo in RGB, overlaid with the color of each class; where a class is black or ignored, the photo stays unchanged.

    Args:
        photo: upright, of any size; the classes are resized to it by nearest neighbor.
        classes: the class of each pixel, H W.
        colors: the color of each class.
        opacity: opacity of the colors, 0 to 1.
    """
    mask = indexed(classes, colors).resize(photo.size, Image.Resampling.NEAREST)
    visible = [round(255 * opacity) if any(color) else 0 for color in colors]
    alpha = visible + [0] * (256 - len(visible))
    result = photo.convert("RGB")
    if result is photo:
        result = photo.copy()
    for top in range(0, photo.height, _ROWS):
        box = (0, top, photo.width, min(top + _ROWS, photo.height))
        part = mask.crop(box)
        values = Image.frombytes("L", part.size, part.tobytes())
        result.paste(part.convert("RGB"), box, values.point(alpha))
    return result


def _palette(colors: Sequence[Color]) -> list[int]:
    gray = [(i, i, i) for i in range(len(colors), 255)]
    return [value for color in (*colors, *gray, IGNORED) for value in color]

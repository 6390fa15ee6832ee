"""Segmentations as images: the classes themselves with a palette, and colors over the photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mobilenets.runtime.segment.palette import Color

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED: Color = (224, 224, 192)
"""How VOC colors what counts nowhere, the value 255."""

OPACITY = 0.6
_ROWS = 1024  # of a large image that are blended at once


def indexed(classes: NDArray[np.uint8], colors: Sequence[Color]) -> Image.Image:
    """The classes, H W, as a palette image: its values are the classes, its palette their colors; save it as PNG."""
    image = Image.fromarray(np.ascontiguousarray(classes))
    image.putpalette(_palette(colors))
    return image


def overlay(
    photo: Image.Image, classes: NDArray[np.uint8], colors: Sequence[Color], *, opacity: float = OPACITY
) -> Image.Image:
    """The photo in RGB with each class in its color over it; where a class is black or counts nowhere, the photo stays.

    Args:
        photo: upright, of any size; the classes are brought to it without mixing them.
        classes: H W.
        colors: of each class.
        opacity: of the colors, 0 to 1.
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

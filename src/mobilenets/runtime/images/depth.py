"""Conversion of images with 16 bits, 32 bits or floats to 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PHOTOMETRIC_TAG = 262
_MAX_SAMPLE_TAG = 281
_AT_ONCE = 1 << 20  # pixels processed at once, so that a large image is not copied


def eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of more than 8 bits, scaled to 8 bits.

    - Integers: scaled by the full range of 16 bits; by that of 12 or 8 bits if all values fit, since cameras, scanners and
      microscopes store such values in 16-bit files. A TIFF file may state its largest value itself.
    - Floats: scaled by 0 to 1 or 0 to 255 if all values fit, otherwise by their own range. Infinite values become the largest
      or smallest finite value, and NaN the smallest.

    Raises:
        ValueError: no value is finite.
    """
    smallest, largest = _finite_range(image) if image.mode == "F" else (0.0, 0.0)
    low, high = _float_scale(smallest, largest) if image.mode == "F" else _whole_scale(image)
    factor = 255 / max(high - low, 1e-12)
    white_is_zero = image.mode.startswith("I;16") and tag(image, _PHOTOMETRIC_TAG) == 0
    result = Image.new("L", image.size)
    for top, values in _strips(image):
        if image.mode == "F":
            values = np.nan_to_num(values, nan=smallest, posinf=largest, neginf=smallest)
        scaled = np.rint((np.clip(values, low, high) - low) * factor).astype(np.uint8)
        result.paste(Image.fromarray(255 - scaled if white_is_zero else scaled), (0, top))
    return result


def _finite_range(image: Image.Image) -> tuple[float, float]:
    lows, highs = [], []
    for _, values in _strips(image):
        finite = values[np.isfinite(values)]
        if len(finite):
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise ValueError("none of its values is finite")
    return min(lows), max(highs)


def _float_scale(smallest: float, largest: float) -> tuple[float, float]:
    """The values that become 0 and 255."""
    if smallest >= 0 and largest <= 255:
        return 0.0, 1.0 if largest <= 1 else 255.0
    return smallest, largest


def _whole_scale(image: Image.Image) -> tuple[float, float]:
    low, high, expanded = 0.0, 0.0, True
    for _, values in _strips(image):
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        expanded = expanded and not (values % 257).any()  # 8-bit values stretched to 16 bits, by a factor of 257
    if low < 0 or high > 65535:
        return low, high
    stated = tag(image, _MAX_SAMPLE_TAG)
    if isinstance(stated, int | float) and high <= stated < 65535 and stated > 0:
        return 0.0, float(stated)
    if expanded or high > 4095:
        return 0.0, 65535.0
    return 0.0, 4095.0 if high > 255 else 255.0


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Strips of a few rows each: the index of the first row, and the values."""
    rows = max(1, _AT_ONCE // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield top, np.asarray(strip, np.float64)


def tag(image: Image.Image, number: int) -> object:
    """A tag of a TIFF file, or the tag's first value if it has several; None for other formats."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value

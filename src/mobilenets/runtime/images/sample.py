"""Bilinear resizing without antialiasing, as torch's interpolation does by default; some networks were trained with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.runtime.segment.upsample import axis

_AT_ONCE = 16  # rows, few enough that their intermediate values stay in a core's cache


def sampled(image: Image.Image, shape: tuple[int, int]) -> NDArray[np.float32]:
    """An image resized to this height and width, H W C, or H W if grey, 0 to 255. Each pixel blends the nearest four.

    There is no antialiasing and no rounding, as in `torch.nn.functional.interpolate(mode="bilinear")`.
    """
    pixels = np.asarray(image)
    height, width = shape
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows, columns = axis(height, pixels.shape[0], size=height), axis(width, pixels.shape[1], size=width)
    low, high = (_flat(positions, channels) for positions in (columns.low, columns.high))
    share = np.repeat(columns.share, channels)
    flat = pixels.reshape(len(pixels), -1)  # H, W C: rows of numbers
    result = np.empty((height, width * channels), np.float32)
    for first in range(0, height, _AT_ONCE):
        part = rows.part(first, first + _AT_ONCE)
        tall = _between(flat[part.low], flat[part.high], part.share[:, np.newaxis])
        result[first : first + _AT_ONCE] = _between(tall.take(low, axis=1), tall.take(high, axis=1), share)
    return result.reshape(*shape, *pixels.shape[2:])


def _between(
    first: NDArray[np.uint8] | NDArray[np.float32], second: NDArray[np.uint8] | NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    between: NDArray[np.float32] = np.subtract(second, first, dtype=np.float32)
    between *= share
    between += first
    return between


def _flat(positions: NDArray[np.intp], channels: int) -> NDArray[np.intp]:
    """Indices of all channels at these pixel positions, in a row that stores the channels of each pixel side by side."""
    return (positions[:, np.newaxis] * channels + np.arange(channels)).ravel()

"""Occlusion maps drawn on images: the more important a part is, the warmer its color; the rest is grey."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.evaluation.classify.looked import Looked, looked
from mobilenets.reports.page import SHOWN
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.upsample import axis, upsampled

_WARM = np.array([(180, 30, 20), (250, 150, 20), (255, 240, 120)], np.float32)
"""Red, green and blue at one third, two thirds and the top of the scale."""

_OPACITY = 0.75


def look(predictor: Predictor, read_image: Callable[[str], bytes]) -> Callable[[str], bytes] | None:
    """A function that draws the occlusion map on the image of a given name, as JPEG; None if the network is not a classifier.

    Args:
        predictor: the network.
        read_image: returns the encoded image of a name.
    """
    if predictor.manifest.task != "classify":
        return None

    def drawn(name: str) -> bytes:
        """The image with its occlusion map; empty if it cannot be read any more."""
        try:
            data = read_image(name)
            return _jpeg(overlay(decode_image(data, at_least=SHOWN), looked(predictor, data)))
        except (ImageError, OSError):
            return b""

    return drawn


def overlay(image: Image.Image, found: Looked) -> Image.Image:
    """The image in grey with the importance of its parts in warm colors, downsized for the page."""
    small = image.convert("L")
    small.thumbnail((SHOWN, SHOWN))
    place = found.placement
    share = small.width / place.width, small.height / place.height
    (height, width), (cells_down, cells_across) = found.shape, found.importance.shape
    rows = axis(small.height, cells_down, size=height, scale=place.scale_y * share[1], start=place.top * share[1])
    columns = axis(small.width, cells_across, size=width, scale=place.scale_x * share[0], start=place.left * share[0])
    heat = upsampled(found.importance[np.newaxis], rows, columns)[0]  # H W
    alpha = (_OPACITY * heat)[:, :, np.newaxis]
    pixels = np.asarray(small, np.float32)[:, :, np.newaxis] * (1 - alpha) + _colors(heat) * alpha
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colors(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Red, green and blue for values from 0 to 1, H W 3."""
    at = np.linspace(1 / 3, 1, len(_WARM))
    return np.stack([np.interp(heat, at, _WARM[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

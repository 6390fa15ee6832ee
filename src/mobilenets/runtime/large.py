"""Pictures larger than Pillow takes for harmless, where the caller asked for large ones."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from PIL import Image

from mobilenets.runtime import image

MOST = 2_000_000_000
"""Pixels of the largest picture: 6 GB as RGB."""

_turn = Lock()


def decode(source: bytes | Path, *, channels: int = 3) -> Image.Image:
    """As `image.decode`, for pictures of up to two gigapixels; one at a time, since Pillow's limit is one for all.

    Args:
        source: the encoded picture, or the file that holds it.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ImageError: see `image.decode`.
    """
    with _turn:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MOST // 2  # Pillow refuses what is twice as large
        try:
            return image.decode(source, channels=channels)
        finally:
            Image.MAX_IMAGE_PIXELS = usual

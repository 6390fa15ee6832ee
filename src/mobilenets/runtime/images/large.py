"""Decoding of images beyond Pillow's size limit, for callers who ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from PIL import Image

from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.images.decode import upright_size as usual_upright_size

MOST = 2_000_000_000
"""Pixels of the largest image: 8 GB in memory, since Pillow uses four bytes per pixel."""

_turn = Lock()


def decode(source: bytes | Path, *, channels: int = 3) -> Image.Image:
    """As `decode_image`, for images of up to two gigapixels. Only one such image is decoded at a time.

    Args:
        source: the encoded image, or the file that holds it.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ImageError: see `decode_image`.
    """
    with _lifted():
        return decode_image(source, channels=channels)


def upright_size(source: bytes | Path) -> tuple[int, int]:
    """As `decode.upright_size`, for images of up to two gigapixels.

    Raises:
        ImageError: see `decode.upright_size`.
    """
    with _lifted():
        return usual_upright_size(source)


@contextmanager
def _lifted() -> Iterator[None]:
    """Raise Pillow's limit, which is global. Meanwhile it is higher for other threads too, but never lower."""
    with _turn:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MOST // 2  # Pillow refuses images above twice its limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual

"""One image from a file or bytes: `image.decode(path)`. The short name of what `images` holds."""

from __future__ import annotations

from mobilenets.runtime.images.decode import decode_image as decode
from mobilenets.runtime.images.decode import read_header, upright_size

__all__ = ["decode", "read_header", "upright_size"]

"""Short names for the functions of `images`, to process one image by hand: `image.decode(path)`, then `image.prepare(...)`."""

from __future__ import annotations

from mobilenets.runtime.images.decode import decode_image as decode
from mobilenets.runtime.images.decode import read_header, upright_size
from mobilenets.runtime.images.decode import read_header as header
from mobilenets.runtime.images.prepare import load_input as load
from mobilenets.runtime.images.prepare import load_placed, normalize, prepare, resize

__all__ = ["decode", "header", "load", "load_placed", "normalize", "prepare", "read_header", "resize", "upright_size"]

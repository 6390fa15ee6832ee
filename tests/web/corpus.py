"""Images of every kind that a user may drop, made here: odd sizes, EXIF, transparency, 16 bits, CMYK, palettes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112
SIZES = ((1, 1), (1, 300), (257, 3), (97, 131), (640, 427), (1203, 801), (33, 900))


@dataclass(frozen=True, slots=True)
class Case:
    """An encoded image.

    Args:
        name: says what is special about it.
        data: the file.
        levels: how far, in levels of 255, prepared pixels may be from Python's.
    """

    name: str
    data: bytes
    levels: float = 0.0

    @property
    def jpeg(self) -> bool:
        """Whether it is a JPEG file."""
        return self.data.startswith(b"\xff\xd8")


def photo(width: int, height: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels as in photos, H W C: smooth shapes, edges and a little noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    layers = []
    for c in range(channels):
        wave = np.sin(x / (11 + 5 * c)) * np.cos(y / (17 + 3 * c)) * 90 + 128
        edges = 60 * ((x // 37 + y // 29 + c) % 2)
        layers.append(wave + edges + generator.normal(0, 6, (height, width)))
    pixels: NDArray[np.uint8] = np.stack(layers, axis=-1).clip(0, 255).astype(np.uint8)
    return pixels


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cases() -> Iterator[Case]:
    """The corpus."""
    for width, height in SIZES:
        image = Image.fromarray(photo(width, height))
        yield Case(f"png-{width}x{height}", encoded(image, "PNG"))
        yield Case(f"jpeg-{width}x{height}", encoded(image, "JPEG", quality=90))
    image = Image.fromarray(photo(231, 118))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        yield Case(f"exif-{orientation}", encoded(image, "JPEG", quality=92, exif=exif))
    yield Case("jpeg-444", encoded(image, "JPEG", quality=95, subsampling=0))
    yield Case("jpeg-progressive", encoded(image, "JPEG", quality=80, progressive=True))
    yield Case("jpeg-grey", encoded(image.convert("L"), "JPEG"))
    yield Case("jpeg-cmyk", encoded(image.convert("CMYK"), "JPEG", quality=95))
    alpha = photo(231, 118, channels=4, seed=1)
    alpha[:, :, 3] = np.linspace(0, 255, 231).astype(np.uint8)
    yield Case("png-alpha", encoded(Image.fromarray(alpha), "PNG"))
    yield Case("png-grey-alpha", encoded(Image.fromarray(alpha).convert("LA"), "PNG"))
    yield Case("png-palette", encoded(image.quantize(64), "PNG"))
    yield Case("png-palette-transparent", encoded(image.quantize(64), "PNG", transparency=3))
    yield Case("png-bits", encoded(image.convert("1"), "PNG"))
    yield Case("png-grey", encoded(image.convert("L"), "PNG"))
    yield Case("png-interlaced-by-filter", encoded(image, "PNG", optimize=True))
    deep = (photo(231, 118)[:, :, 0].astype(np.uint16) << 8) | 0x5A
    yield Case("png-16-bit", encoded(Image.fromarray(deep), "PNG"))
    yield Case("png-12-of-16-bit", encoded(Image.fromarray(deep >> 4), "PNG"))
    yield Case("png-8-of-16-bit", encoded(Image.fromarray(deep >> 8), "PNG"))
    yield Case("png-16-bit-color", _deep_png(231, 118, bands=3))
    yield Case("png-16-bit-grey-alpha", _deep_png(231, 118, bands=2))
    yield Case("png-16-bit-interlaced", _deep_png(45, 31, bands=1, interlaced=True))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    yield Case("png-exif", encoded(image, "PNG", exif=exif))
    for orientation in (*range(1, 9), 99):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        yield Case(f"webp-exif-{orientation}", encoded(image, "WEBP", lossless=True, exif=exif))
    yield Case("gif", encoded(image, "GIF"))
    yield Case("bmp", encoded(image, "BMP"))
    yield Case("webp-lossless", encoded(image, "WEBP", lossless=True))
    yield Case("webp-lossy", encoded(image, "WEBP", quality=90))
    yield Case("webp-alpha", encoded(Image.fromarray(alpha), "WEBP", lossless=True, exact=True), levels=2.0)
    yield Case("icc-profile", encoded(image, "JPEG", quality=92, icc_profile=_other_profile()))


def _deep_png(width: int, height: int, *, bands: int, interlaced: bool = False) -> bytes:
    """A PNG file of 16 bits, of 1 to 4 bands, which Pillow does not write."""
    values = (photo(width, height, bands, seed=2).astype(np.uint16) << 8) + np.arange(width, dtype=np.uint16)[:, np.newaxis]
    grids = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = []
    for left, top, across, down in grids if interlaced else [(0, 0, 1, 1)]:
        rows += [b"\0" + row.astype(">u2").tobytes() for row in values[top::down, left::across]]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, interlaced)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _other_profile() -> bytes:
    """A color profile unlike sRGB: its red, green and blue have another gamma."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile)

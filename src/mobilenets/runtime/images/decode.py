"""Encoded image -> upright RGB or grey image, 8 bits: the one decoder outside of training."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from mobilenets.errors import ImageError

Reason = Literal["missing", "unreadable", "empty", "bomb", "not-an-image", "truncated", "damaged"]

DECODE_ERRORS = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where the caller turned warnings into errors
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG or TIFF
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
)
"""What Pillow's decoders raise on broken files."""

MODES = {1: "L", 3: "RGB"}
_ORIENTATION_TAG = 0x0112
_PHOTOMETRIC_TAG = 262
_TURNS = {  # EXIF orientation: what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ACROSS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
_REFUSED = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})  # start other programs, or cannot be decoded at all
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's header says.

    Args:
        format: Pillow's name of it: "JPEG", "PNG", ...
        width, height: px, as stored.
        turned: whether EXIF exchanges them.
    """

    format: str
    width: int
    height: int
    turned: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height, px, of the image as a person sees it."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def decode_image(source: bytes | Path, *, channels: int = 3, at_least: int | None = None) -> Image.Image:
    """The image as a person sees it: first frame, upright, transparency over white, 8 bits, RGB or grey.

    Args:
        source: the encoded image, or the file that holds it.
        channels: 3 for RGB, 1 for grey.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while its shorter side keeps this many px.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, no image, or too large to be one.
    """
    return decode_sized(source, channels=channels, at_least=at_least)[0]


def decode_sized(source: bytes | Path, *, channels: int, at_least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The upright image, and the width and height it would have had at its full size."""
    if channels not in MODES:
        raise ImageError(f"an image file has 3 or 1 channels, not {channels}", hint="pass such inputs as arrays")
    data = b""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        image = _open(io.BytesIO(data))
        full = image.size
        if at_least is not None or channels == 1:
            smallest = image.size if at_least is None else (at_least, at_least)
            image.draft("L" if channels == 1 else None, smallest)
        image.load()
        upright = _upright(_flat(image, MODES[channels]), image)
        return upright, full[::-1] if _is_turned(image) else full
    except DECODE_ERRORS as error:
        raise _image_error(source, error, data) from error


def read_header(source: bytes | Path) -> Header:
    """What the image's header says; its pixels are not read.

    Raises:
        ImageError: the file is missing, empty, no image, or too large to be one.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            image = _open(file)
            return Header(image.format or "", image.width, image.height, _is_turned(image))
    except DECODE_ERRORS as error:
        raise _image_error(source, error, source if isinstance(source, bytes) else b"") from error


def upright_size(source: bytes | Path) -> tuple[int, int]:
    """Width and height, px, of the image as a person sees it; its pixels are not read.

    Raises:
        ImageError: see `read_header`.
    """
    return read_header(source).upright


def failure(error: BaseException | None) -> Reason:
    """Which kind of failure an `ImageError` of `decode_image`, or its cause, stands for."""
    if isinstance(error, ImageError):
        return failure(error.__cause__)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "missing"
    if isinstance(error, _EmptyFileError):
        return "empty"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning | MemoryError):
        return "bomb"
    if isinstance(error, UnidentifiedImageError):
        return "not-an-image"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable"
    if isinstance(error, EOFError | struct.error) or "truncated" in str(error).lower():
        return "truncated"
    return "damaged"


class _EmptyFileError(ValueError):
    """The file has no byte."""


class _HeaderError(ValueError):
    """The file begins as an image does, but its header makes no sense."""


def _open(file: BinaryIO) -> Image.Image:
    start = file.read(16)
    if not start:
        raise _EmptyFileError
    try:
        return Image.open(file, formats=_COMMON)
    except UnidentifiedImageError:
        Image.init()
        others = [name for name in Image.ID if name not in _REFUSED]
        try:
            return Image.open(file, formats=others)
        except UnidentifiedImageError:
            if start.startswith(_SIGNATURES):
                raise _HeaderError("its header is cut off or wrong") from None
            raise


def _image_error(source: bytes | Path, error: BaseException, data: bytes) -> ImageError:
    where = f"'{source}'" if isinstance(source, Path) else "the image"
    text, hint = _words(error, data)
    return ImageError(f"{where} {text}", hint=hint)


def _words(error: BaseException, data: bytes) -> tuple[str, str]:
    """What is wrong with an image, and what to do."""
    kind = failure(error)
    if kind == "missing":
        return "does not exist", ""
    if kind == "unreadable":
        return f"cannot be read: {getattr(error, 'strerror', None) or error}", ""
    if kind == "empty":
        return "is empty: 0 bytes", "copy it again from where it came from"
    if kind == "bomb":
        most = f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels" if Image.MAX_IMAGE_PIXELS else "what fits into memory"
        return f"claims more than {most}; is it a decompression bomb?", "save it smaller, or leave it out"
    if kind == "not-an-image":
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
            return "is a HEIC image, which cannot be decoded here", "convert it to JPEG or PNG"
        return "is not an image of a known format", "JPEG, PNG, WebP, GIF, BMP, TIFF and other raster formats can be read"
    if kind == "truncated":
        return "is truncated: the file ends before the image does", "copy it again from where it came from"
    return f"is damaged: {error or type(error).__name__}", "open it in an image viewer and save it again"


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in 8 bits and without transparency, as `mode`."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=alpha)
            image = white
    elif image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = _inverted(image)  # Pillow takes every CMYK JPEG for Adobe's inverted kind
    elif image.mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")) or image
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits to 8 by their full range; floats by 0..1, 0..255 or, where they exceed both, their own range."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif image.mode == "F" and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scaled = np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    tags = getattr(image, "tag_v2", {})
    white_is_zero = image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == 0
    return Image.fromarray(255 - scaled if white_is_zero else scaled)


def _inverted(image: Image.Image) -> Image.Image:
    return image.point(list(range(255, -1, -1)) * len(image.getbands()))


def _upright(flat: Image.Image, opened: Image.Image) -> Image.Image:
    """Turned as the EXIF orientation of the opened file says."""
    turn = _turn(opened)
    return flat if turn is None else flat.transpose(turn)


def _is_turned(opened: Image.Image) -> bool:
    """Whether width and height are to be exchanged. Of a PNG, EXIF behind the pixels is not looked for: they would be read."""
    if opened.format == "PNG" and "exif" not in opened.info:
        return False
    return _turn(opened) in _ACROSS


def _turn(opened: Image.Image) -> Image.Transpose | None:
    """What makes the opened file upright; damaged EXIF says nothing."""
    try:
        return _TURNS.get(opened.getexif().get(_ORIENTATION_TAG, 1))
    except DECODE_ERRORS:
        return None

"""Decoding: from an encoded image to an upright RGB or grey image with 8 bits. Only training has another decoder."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from PIL import Image, UnidentifiedImageError

from mobilenets.errors import ImageError
from mobilenets.files import stand_in
from mobilenets.runtime.images.depth import eight_bits, tag
from mobilenets.runtime.images.png import SIGNATURE, without_texts
from mobilenets.runtime.text import shown_bytes

Read = TypeVar("Read")

Reason = Literal["missing", "unreadable", "empty", "bomb", "not-an-image", "truncated", "damaged"]

DECODE_ERRORS = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # if the caller turned warnings into errors
    OSError,
    SyntaxError,  # raised by Pillow for a broken PNG or TIFF
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
"""The errors that Pillow's decoders raise for broken files."""

MODES = {1: "L", 3: "RGB"}

ALWAYS_DECODED = 256 << 20
"""Bytes of decoded pixels that are always allowed, however small the file is."""

MOST_TIMES = 1000
"""Above `ALWAYS_DECODED`, the limit of decoded bytes per byte of the file. Photos reach 5 to 200, a blank JPEG 300, a nearly
blank PNG 1,000."""

_AT_ONCE = 1 << 20  # bytes per read while the file grows or shrinks
_IN_MEMORY = 1 << 30  # bytes; a larger file is decoded from disk instead of being read at once
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # in memory; 4 for other modes
_ORIENTATION_TAG = 0x0112
_WIDTH_TAG = 0x0100
_TURNS = {  # EXIF orientation: the operation that makes the image upright
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
    """The contents of an image's header.

    Args:
        format: the format's name in Pillow: "JPEG", "PNG", ...
        width, height: px, as stored.
        turned: whether the EXIF orientation swaps them.
    """

    format: str
    width: int
    height: int
    turned: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height, px, of the upright image."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def decode_image(source: bytes | Path, *, channels: int = 3, at_least: int | None = None) -> Image.Image:
    """The image as a person sees it: first frame, upright, transparency over white, 8 bits, RGB or grey.

    Args:
        source: the encoded image, or the file that holds it.
        channels: 3 for RGB, 1 for grey.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size if its shorter side keeps at least this many px.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, not an image, or too large.
    """
    return decode_sized(source, channels=channels, at_least=at_least)[0]


def decode_sized(source: bytes | Path, *, channels: int, at_least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The upright image, and the width and height that it has at full size, px."""
    _check_channels(channels)

    def work(file: BinaryIO) -> tuple[Image.Image, tuple[int, int]]:
        image = _open(file)
        full = image.size
        if at_least is not None or channels == 1:
            smallest = image.size if at_least is None else (at_least, at_least)
            image.draft("L" if channels == 1 else None, smallest)
        image.load()
        return _upright(_flat(image, MODES[channels]), image), full[::-1] if _is_turned(image) else full

    return _worked(source, work, whole=True)


def as_decoded(image: Image.Image, *, channels: int) -> Image.Image:
    """An image opened with Pillow, as `decode_image` would return it: upright, 8 bits, RGB or grey.

    Args:
        image: not changed, except that its pixels are loaded.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ImageError: it has no pixels, or they cannot be loaded.
    """
    _check_channels(channels)
    if 0 in image.size:
        raise ImageError(f"the image has no pixels: {image.width} x {image.height}")
    try:
        image.load()
        return _upright(_flat(image, MODES[channels]), image)
    except DECODE_ERRORS as error:
        raise _image_error(b"", error, b"") from error


def read_image_file(path: Path) -> bytes | Path:
    """The bytes of an image file, or the path itself if the file is so large that it should be decoded from disk.

    Raises:
        OSError: it cannot be read, or it is a folder, a pipe or a device.
    """
    with _regular_file(path) as (descriptor, size_bytes):
        if size_bytes > _IN_MEMORY:
            return path
        data = os.read(descriptor, size_bytes + 1)  # one call is enough unless the file is written to at the same time
        while len(data) != size_bytes and (more := os.read(descriptor, _AT_ONCE)):
            data += more
        return data


def read_header(source: bytes | Path) -> Header:
    """The image's header; pixels are not read.

    Raises:
        ImageError: the file is missing, empty, not an image, or too large.
    """

    def work(file: BinaryIO) -> Header:
        image = _open(file)
        return Header(image.format or "", image.width, image.height, _is_turned(image))

    return _worked(source, work, whole=False)


def upright_size(source: bytes | Path) -> tuple[int, int]:
    """Width and height, px, of the upright image; pixels are not read.

    Raises:
        ImageError: see `read_header`.
    """
    return read_header(source).upright


def failure(error: BaseException | None) -> Reason:
    """The kind of failure that an `ImageError` of `decode_image`, or its cause, represents."""
    if isinstance(error, ImageError):
        return failure(error.__cause__)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "missing"
    if isinstance(error, _EmptyFileError):
        return "empty"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning | _BombError | MemoryError):
        return "bomb"
    if isinstance(error, UnidentifiedImageError):
        return "not-an-image"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable"
    if isinstance(error, EOFError | struct.error) or "truncated" in str(error).lower():
        return "truncated"
    return "damaged"


class _EmptyFileError(ValueError):
    """The file is empty."""


class _HeaderError(ValueError):
    """The file starts like an image, but its header is invalid."""


class _BombError(ValueError):
    """The file is too small for the number of pixels that it claims."""


_HEAD = 16  # bytes that distinguish the formats


def _check_channels(channels: int) -> None:
    if channels not in MODES:
        raise ImageError(f"an image file has 3 or 1 channels, not {channels}", hint="pass such inputs as arrays")


def _worked(source: bytes | Path, work: Callable[[BinaryIO], Read], *, whole: bool) -> Read:
    """The result of `work` on the bytes of an image.

    Args:
        source: the encoded image, or the file that holds it.
        work: reads the image; its errors become an `ImageError`.
        whole: whether all bytes of the file are needed; it is then read at once, which is faster.
    """
    head = b""
    try:
        with _stream(source, whole=whole) as file:
            head = file.read(_HEAD)
            try:
                return work(file)
            except ValueError:
                # Pillow refuses a PNG with more than a megabyte of texts or profile, which are not part of the image.
                file.seek(0)
                shorter = without_texts(file.read()) if head.startswith(SIGNATURE) else None
                if shorter is None:
                    raise
                return work(io.BytesIO(shorter))
    except DECODE_ERRORS as error:
        raise _image_error(source, error, head) from error


@contextmanager
def _stream(source: bytes | Path, *, whole: bool) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    data = read_image_file(source) if whole else source
    if isinstance(data, bytes):
        yield io.BytesIO(data)
        return
    with _regular_file(source) as (descriptor, _), os.fdopen(descriptor, "rb", closefd=False) as file:
        yield file


@contextmanager
def _regular_file(path: Path) -> Iterator[tuple[int, int]]:
    """A descriptor of the file, open for reading, and the file's size in bytes.

    Opening does not wait for the other end of a pipe, and devices, which may be endless, are not read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a null character
        raise OSError(errno.EINVAL, "no file can have such a name", str(path)) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            kind = "a named pipe" if stat.S_ISFIFO(status.st_mode) else "a device"
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def _open(file: BinaryIO) -> Image.Image:
    """The opened image, not yet loaded; refused if the file is too small for its number of pixels."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    image = _identified(file)
    decoded = image.width * image.height * _PIXEL_BYTES.get(image.mode, 4)
    if decoded > max(ALWAYS_DECODED, MOST_TIMES * size_bytes):
        raise _BombError(
            f"is {image.width:,} x {image.height:,} px, {decoded // 2**20:,} MB in memory, out of {size_bytes:,} bytes: beyond "
            f"{ALWAYS_DECODED // 2**20} MB a file may grow {MOST_TIMES:,} times; is it a decompression bomb?"
        )
    return image


def _identified(file: BinaryIO) -> Image.Image:
    start = file.read(_HEAD)
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


def _image_error(source: bytes | Path, error: BaseException, head: bytes) -> ImageError:
    nameless = "the data" if failure(error) == "not-an-image" else "the image"
    where = f"'{source}'" if isinstance(source, Path) else nameless
    text, hint = _words(error, head)
    return ImageError(f"{where} {text}", hint=hint)


def _words(error: BaseException, head: bytes) -> tuple[str, str]:
    """What is wrong with an image, and what to do about it."""
    kind = failure(error)
    if kind == "missing":
        return "does not exist", ""
    if kind == "unreadable":
        return f"cannot be read: {getattr(error, 'strerror', None) or error}", ""
    if kind == "empty":
        return "is empty: 0 bytes", "copy it again from where it came from"
    if isinstance(error, _BombError):
        return str(error), "save it smaller, or leave it out"
    if kind == "bomb":
        most = f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels" if Image.MAX_IMAGE_PIXELS else "what fits into memory"
        return f"claims more than {most}; is it a decompression bomb?", "save it smaller, or leave it out"
    if kind == "not-an-image":
        if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
            return "is a HEIC image, which cannot be decoded here", "convert it to JPEG or PNG"
        other = stand_in(head)
        if other is not None:
            return f"is not an image, but {other[0]}", other[1]
        return (
            f"is not an image of a known format: it begins with {shown_bytes(head)}",
            "JPEG, PNG, WebP, GIF, BMP, TIFF and other raster formats can be read",
        )
    if kind == "truncated":
        return "is truncated: the file ends before the image does", "copy it again from where it came from"
    return f"is damaged: {error or type(error).__name__}", "open it in an image viewer and save it again"


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The image converted to `mode`, with 8 bits and without transparency."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=alpha)
            image = white
    elif image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = _inverted(image)  # Pillow treats every CMYK JPEG as Adobe's inverted kind
    elif image.mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")) or image
    return image if image.mode == mode else image.convert(mode)


def _inverted(image: Image.Image) -> Image.Image:
    return image.point(list(range(255, -1, -1)) * len(image.getbands()))


def _upright(flat: Image.Image, opened: Image.Image) -> Image.Image:
    """The image turned by the EXIF orientation of the opened file."""
    turn = _turn(opened)
    return flat if turn is None else flat.transpose(turn)


def _is_turned(opened: Image.Image) -> bool:
    """Whether to swap width and height. EXIF after a PNG's pixels is ignored, because finding it would read the pixels."""
    if opened.format == "PNG" and "exif" not in opened.info:
        return False
    if opened.format == "TIFF" and opened.width != tag(opened, _WIDTH_TAG):
        return False  # Pillow has exchanged them already
    return _turn(opened) in _ACROSS


def _turn(opened: Image.Image) -> Image.Transpose | None:
    """The operation that makes the opened file upright; None if EXIF is damaged or asks for none."""
    try:
        return _TURNS.get(opened.getexif().get(_ORIENTATION_TAG, 1))
    except DECODE_ERRORS:
        return None

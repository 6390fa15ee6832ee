"""Encoded picture -> upright RGB or grey picture -> the array a network takes: the one preprocessing outside of training."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mobilenets.errors import ImageError
from mobilenets.runtime.placement import Placement, letterbox, margin, placement, with_shorter_side
from mobilenets.runtime.sample import sampled
from mobilenets.specs.model import InputContract, Interpolation

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

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_MODES = {1: "L", 3: "RGB"}
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
_WHOLE = 1 << 30  # px that no picture has: nothing is shrunk
_LONGEST = 8  # sides of a network's input: beyond this a resized picture is cut before it is made


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says.

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
        """Width and height, px, of the picture as a person sees it."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def decode(source: bytes | Path, *, channels: int = 3, at_least: int | None = None) -> Image.Image:
    """The picture as a person sees it: first frame, upright, transparency over white, 8 bits, RGB or grey.

    Args:
        source: the encoded picture, or the file that holds it.
        channels: 3 for RGB, 1 for grey.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while its shorter side keeps this many px.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, no picture, or too large to be one.
    """
    return _decoded(source, channels=channels, at_least=at_least)[0]


def _decoded(source: bytes | Path, *, channels: int, at_least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The upright picture, and the width and height it would have had at its full size."""
    if channels not in _MODES:
        raise ImageError(f"a picture file has 3 or 1 channels, not {channels}", hint="pass such inputs as arrays")
    data = b""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        image = _open(io.BytesIO(data))
        full = image.size
        if at_least is not None or channels == 1:
            smallest = image.size if at_least is None else (at_least, at_least)
            image.draft("L" if channels == 1 else None, smallest)
        image.load()
        upright = _upright(_flat(image, _MODES[channels]), image)
        return upright, full[::-1] if _is_turned(image) else full
    except DECODE_ERRORS as error:
        raise _image_error(source, error, data) from error


def header(source: bytes | Path) -> Header:
    """What the picture's header says; its pixels are not read.

    Raises:
        ImageError: the file is missing, empty, no picture, or too large to be one.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            image = _open(file)
            return Header(image.format or "", image.width, image.height, _is_turned(image))
    except DECODE_ERRORS as error:
        raise _image_error(source, error, source if isinstance(source, bytes) else b"") from error


def upright_size(source: bytes | Path) -> tuple[int, int]:
    """Width and height, px, of the picture as a person sees it; its pixels are not read.

    Raises:
        ImageError: see `header`.
    """
    return header(source).upright


def prepare(image: Image.Image, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one decoded picture, C H W, contiguous: resized, cut, scaled and normalized by its contract.

    Raises:
        ImageError: the contract asks for a number of channels that no picture file has.
    """
    if contract.channels not in _MODES:
        raise ImageError(f"the network takes {contract.channels} channels, which no picture file has", hint="give it an array")
    mode = _MODES[contract.channels]
    if image.mode != mode:
        image = image.convert(mode)
    if contract.resize == "letterbox":
        return _letterboxed(image, contract)
    if contract.resize == "sample":
        return normalize(sampled(image, contract.shape), contract)
    return normalize(resize(image, contract), contract)


def load(source: bytes | Path, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one encoded picture, C H W: `decode`, then `prepare`.

    Raises:
        ImageError: see `decode`.
    """
    return prepare(decode(source, channels=contract.channels, at_least=needed(contract)), contract)


def load_placed(source: bytes | Path, contract: InputContract) -> tuple[NDArray[np.float32], Placement]:
    """As `load`, with where the input lies on the whole picture, however much decoding shrank it.

    Raises:
        ImageError: see `decode`.
    """
    image, (width, height) = _decoded(source, channels=contract.channels, at_least=needed(contract))
    return prepare(image, contract), placement(width, height, contract)


def needed(contract: InputContract) -> int:
    """Shorter side, px, to which a JPEG may be shrunk in decoding: twice what the network sees.

    At twice the pixels the input differs from that of the whole picture by less than one level of 255 on average;
    at just the pixels needed, by two to four.
    """
    if contract.resize == "sample":
        return _WHOLE
    cut = contract.resize in ("crop_then_stretch", "shorter_side_then_crop")
    return 2 * math.ceil(contract.size / contract.crop if cut else max(contract.shape))


def resize(image: Image.Image, contract: InputContract) -> Image.Image:
    """The picture in the shape of the contract, by any resize rule but "letterbox" and "sample", which give no picture."""
    size, method = contract.size, RESAMPLING[contract.interpolation]
    if contract.resize == "crop_then_stretch":
        left, top = margin(image.width, contract.crop), margin(image.height, contract.crop)
        image = image.crop((left, top, image.width - left, image.height - top))
    if contract.resize != "shorter_side_then_crop":
        return image.resize(contract.shape[::-1], method)
    shorter = int(size / contract.crop + 1e-6)  # timm rounds down; torchvision's 232 = 224 / (224 / 232) must stay 232
    width, height = with_shorter_side(image.size, shorter)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if max(width, height) > _LONGEST * shorter:
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), method, box=box)
    return image.resize((width, height), method).crop((left, top, left + size, top + size))


def normalize(image: Image.Image | NDArray[np.float32], contract: InputContract) -> NDArray[np.float32]:
    """An RGB or grey picture, or its pixels H W C or H W, as C H W: `(pixel / 255 - mean) / std`, no resizing."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    height, width, channels = pixels.shape
    array = np.empty((channels, height, width), dtype=np.float32)
    mean = np.broadcast_to(np.asarray(contract.mean, dtype=np.float64), channels)
    std = np.broadcast_to(np.asarray(contract.std, dtype=np.float64), channels)
    for c in range(channels):
        np.multiply(pixels[:, :, c], np.float32(1 / (255 * std[c])), out=array[c], casting="unsafe")
        array[c] -= np.float32(mean[c] / std[c])
    return array


def reason(error: BaseException | None) -> Reason:
    """Which kind of failure an `ImageError` of `decode`, or its cause, stands for."""
    if isinstance(error, ImageError):
        return reason(error.__cause__)
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
    """The file begins as a picture does, but its header makes no sense."""


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
    where = f"'{source}'" if isinstance(source, Path) else "the picture"
    text, hint = _words(error, data)
    return ImageError(f"{where} {text}", hint=hint)


def _words(error: BaseException, data: bytes) -> tuple[str, str]:
    """What is wrong with a picture, and what to do."""
    kind = reason(error)
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
            return "is a HEIC picture, which cannot be decoded here", "convert it to JPEG or PNG"
        return "is not a picture of a known format", "JPEG, PNG, WebP, GIF, BMP, TIFF and other raster formats can be read"
    if kind == "truncated":
        return "is truncated: the file ends before the picture does", "copy it again from where it came from"
    return f"is damaged: {error or type(error).__name__}", "open it in a picture viewer and save it again"


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The picture in 8 bits and without transparency, as `mode`."""
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


def _letterboxed(image: Image.Image, contract: InputContract) -> NDArray[np.float32]:
    down, across = contract.shape
    width, height = letterbox(image.width, image.height, contract)
    left, top = (across - width) // 2, (down - height) // 2
    array = np.zeros((contract.channels, down, across), dtype=np.float32)  # 0 is the mean after normalizing
    inner = normalize(image.resize((width, height), RESAMPLING[contract.interpolation]), contract)
    array[:, top : top + height, left : left + width] = inner
    return array

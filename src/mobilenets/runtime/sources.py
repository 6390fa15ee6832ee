"""The sources that a predictor accepts: a path, encoded bytes, a file object, a Pillow image, a NumPy array, or a reader."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import as_decoded, decode_image, read_image_file
from mobilenets.runtime.images.placement import Placement, placement
from mobilenets.runtime.images.prepare import load_placed, prepare, prepare_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.specs.model import InputContract


class EncodedImage(Protocol):
    """Something that returns an encoded image on request: a `Sample`, or a member of an archive."""

    @property
    def name(self) -> str:
        """The image's name in results."""
        ...

    def read(self) -> bytes:
        """The encoded image; may raise OSError or ImageError."""
        ...


Encoded = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes] | EncodedImage
Source = Encoded | Image.Image | np.ndarray[Any, Any]
"""One image. A `str` is a path. An array is `H W C` in 8 bits with the network's channels: RGB, or grey as `H W`."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_TAKEN = "a path, bytes, a file object, a Pillow image or a NumPy array (H W 3, uint8, RGB)"


def several(sources: Source | Iterable[Source]) -> Iterable[Source]:
    """The images of an iterable; a single image counts as an iterable of one. A `str` is a path, not a sequence of letters."""
    single = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    if isinstance(sources, single) or callable(getattr(sources, "read", None)):
        return [cast("Source", sources)]
    return cast("Iterable[Source]", sources)


def name_of(source: Source) -> str:
    """The name of a source in results: its path, its own name, or its type."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    if isinstance(source, np.ndarray):
        return "<array>"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or "<image>"
    name = getattr(source, "name", None)  # a file object's name may be a number or missing
    return name if isinstance(name, str) and name else f"<{type(source).__name__}>"


def encoded(source: Encoded) -> bytes | Path:
    """The encoded image of a source, or the file that holds it.

    Raises:
        ImageError: it does not hold an image, or reading it failed.
        OSError: reading it failed.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        if isinstance(source, str) and _ADDRESS.match(source):
            raise ImageError(f"'{source}' is an address, and images on the web are not fetched", hint="download it first")
        return Path(source)
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if not callable(getattr(source, "read", None)):
        raise ImageError(f"an image is {_TAKEN}, not {_kind(source)}")
    try:
        data = source.read()
    except (ImageError, OSError):
        raise
    except Exception as error:  # a foreign reader may raise anything
        raise ImageError(f"'{name_of(source)}' cannot be read: {error or type(error).__name__}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageError(
            f"reading '{name_of(source)}' gives {_kind(data)}, not bytes", hint="open the file in binary mode, 'rb'"
        )
    if not data and _is_read(source):
        raise ImageError(f"'{name_of(source)}' was read to its end before", hint="rewind it: .seek(0)")
    return bytes(data)


def contents(source: Source) -> Source:
    """The source with its path replaced by the file's bytes, so that errors say what is wrong but not where.

    Raises:
        OSError: the file cannot be read.
    """
    return read_image_file(Path(source)) if isinstance(source, str | os.PathLike) else source


def reason(error: ImageError | OSError) -> str:
    """Why an image cannot be read, for `Result.error`."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def reusable(source: Source) -> Source:
    """The source in a form that can be loaded more than once; a file object can be read only once.

    Raises:
        ImageError: it does not hold an image, or reading it failed.
        OSError: reading it failed.
    """
    return source if isinstance(source, Image.Image | np.ndarray) else encoded(source)


def decoded(source: Source, *, channels: int, decode: Callable[..., Image.Image] = decode_image) -> Image.Image:
    """A source as an upright Pillow image, RGB or grey.

    Args:
        source: one image.
        channels: 3 for RGB, 1 for grey.
        decode: decodes encoded images: `decode_image`, or `large.decode` for images beyond Pillow's limit.

    Raises:
        ImageError: it is not an image, or cannot be decoded.
        OSError: it cannot be read.
    """
    if isinstance(source, Image.Image):
        return as_decoded(source, channels=channels)
    if isinstance(source, np.ndarray):
        return Image.fromarray(checked_pixels(source, channels))
    image: Image.Image = decode(encoded(source), channels=channels)
    return image


def load(source: Source, contract: InputContract) -> tuple[NDArray[np.float32], Placement]:
    """The network's input for one source, C H W, and where it lies on the image.

    Raises:
        ImageError: it is not an image, or cannot be decoded.
        OSError: it cannot be read.
    """
    if isinstance(source, np.ndarray):
        pixels = checked_pixels(source, contract.channels)
        height, width = pixels.shape[:2]
        return prepare_channels(pixels, contract), placement(width, height, contract)
    if isinstance(source, Image.Image):
        image = as_decoded(source, channels=contract.channels)
        return prepare(image, contract), placement(*image.size, contract)
    return load_placed(encoded(source), contract)


def checked_pixels(array: np.ndarray[Any, Any], channels: int) -> NDArray[np.uint8]:
    """The array itself, if it is an 8-bit image with this many channels, `H W C` (or `H W` for one channel).

    Raises:
        ImageError: it is something else; the message says what it looks like and how to convert it.
    """
    wanted = "H W, grey" if channels == 1 else "H W 3, RGB" if channels == 3 else f"H W {channels}"
    shape = " x ".join(str(side) for side in array.shape)
    says, hint = f"the array is {shape or 'a single number'} {array.dtype}; an image is {wanted}, uint8", ""
    if array.dtype != np.uint8:
        hint = "(array * 255).round().astype('uint8') for values from 0 to 1" if array.dtype.kind == "f" else "astype('uint8')"
    elif array.ndim == 4:
        says, hint = f"the array of {shape} is a batch, not an image", "give a list of images: list(array)"
    elif array.ndim == 2 and channels == 3:
        says, hint = f"the array of {shape} is gray; the network takes {wanted}", "np.stack([array] * 3, axis=-1)"
    elif array.ndim == 3 and array.shape[2] == 4 and channels == 3:
        says, hint = f"the array of {shape} has an alpha channel; the network takes {wanted}", "array[:, :, :3]"
    elif array.ndim == 3 and array.shape[2] != channels and array.shape[0] == channels:
        says, hint = f"the array of {shape} has its channels first; an image is {wanted}", "array.transpose(1, 2, 0)"
    elif array.ndim == 3 and array.shape[2] == channels and array.size:
        return array[:, :, 0] if channels == 1 else array
    elif array.ndim == 2 and channels == 1 and array.size:
        return array
    raise ImageError(says, hint=hint)


def _is_read(source: object) -> bool:
    """Whether a file object without more data has been read before, so that it is not simply empty."""
    try:
        return bool(source.tell() > 0)  # type: ignore[attr-defined]  # only files have a position
    except (AttributeError, OSError, ValueError):
        return False


def _kind(value: object) -> str:
    kind = type(value)
    return "None" if value is None else kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"

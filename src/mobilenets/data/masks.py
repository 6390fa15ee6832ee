"""`Mask`: where the class of every pixel of an image is stored. `read` returns the classes, H W of uint8."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import regions
from mobilenets.data.located import Located
from mobilenets.data.regions import Region
from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import DECODE_ERRORS, failure

IGNORE = 255
"""The class of an ignored pixel after reading: it counts neither in training nor in evaluation."""

STRAY = 65535
"""The value that `stored` returns for a color that belongs to no class."""

Color = tuple[int, int, int]
Coding = Literal["index", "color", "alpha"]

_LOSSY = ("JPEG", "MPO", "JPEG2000", "AVIF")
_CHROMA = 24  # how much the channels of a gray image may differ after lossy compression


@dataclass(frozen=True, slots=True)
class Mask:
    """The classes of an image's pixels, as the dataset stores them: in a file, or as regions.

    Args:
        path: an image whose values or colors stand for classes, or the tar file that contains it; None if there are regions
            instead.
        coding: how pixels encode classes: "index": the value of a single channel or of the palette, looked up in `classes`;
            "alpha": the value of the alpha channel, looked up in `classes`; "color": the color, looked up in `colors`.
        classes: the class of each value, or of each color in `colors`; `IGNORE` if it is ignored, -1 if it belongs to no
            class. The value 255 is ignored if `classes` is too short to have it; with (), values are classes.
        colors: red, green and blue of each class, for "color".
        regions: regions of classes, painted in this order over class 0.
        width, height: size of the image in px if there are regions; 0 for a file.
        within: where the image is, if it is in a tar file or on a web server.
        size_bytes: size of the file when the dataset was opened; None if it was not looked up.
    """

    path: Path | None = None
    coding: Coding = "index"
    classes: tuple[int, ...] = ()
    colors: tuple[Color, ...] = ()
    regions: tuple[Region, ...] = ()
    width: int = 0
    height: int = 0
    within: Located | None = None
    size_bytes: int | None = field(default=None, compare=False, repr=False)

    def read(self) -> NDArray[np.uint8]:
        """The class of each pixel, H W; `IGNORE` for ignored pixels.

        Raises:
            ImageError: the file cannot be read, or has a value that belongs to no class.
        """
        return read(self)


@dataclass(frozen=True, slots=True)
class Survey:
    """How often each value occurs in a mask.

    Args:
        width, height: size of the mask, px.
        pixels: the number of pixels of each class that occurs.
        ignored: the number of ignored pixels.
        strays: the number of pixels of each value that belongs to no class; `STRAY` stands for all such colors.
        colors: the number of different colors that belong to no class.
        between: share of the changes along rows that pass through an intermediate value, one pixel wide: below 0.03 in masks
            as drawn, above 0.2 in masks that were resized by interpolation or saved as JPEG.
        lossy: whether the file's format is lossy.
    """

    width: int
    height: int
    pixels: dict[int, int]
    ignored: int
    strays: dict[int, int]
    colors: int
    between: float
    lossy: bool


def read(mask: Mask) -> NDArray[np.uint8]:
    """The class of each pixel, H W; `IGNORE` for ignored pixels.

    Raises:
        ImageError: the file cannot be read, or has a value that belongs to no class.
    """
    values = stored(mask)
    classes = lookup(mask)[values]
    if (classes < 0).any():
        raise ImageError(f"{_where(mask)} has {_strays(values[classes < 0])}", hint="mobilenets check DATA lists them all")
    return classes.astype(np.uint8)


def survey(mask: Mask) -> Survey:
    """Count the values of a mask. A value that belongs to no class is not an error here.

    Raises:
        ImageError: the file cannot be read.
    """
    values = stored(mask)
    counts = np.bincount(values.ravel(), minlength=1)
    table = lookup(mask)
    pixels: dict[int, int] = {}
    strays: dict[int, int] = {}
    ignored = 0
    for value in np.flatnonzero(counts).tolist():
        class_index, count = int(table[value]), int(counts[value])
        if class_index < 0:
            strays[value] = count
        elif class_index == IGNORE:
            ignored += count
        else:
            pixels[class_index] = pixels.get(class_index, 0) + count
    height, width = values.shape
    colors = len(set(peek_colors(mask.path)) - set(mask.colors)) if mask.path is not None and STRAY in strays else 0
    between = _between(values) if mask.path is not None and mask.coding == "index" else 0.0
    return Survey(width, height, pixels, ignored, strays, colors, between, is_lossy(mask))


def stored(mask: Mask) -> NDArray[np.uint16]:
    """The stored value of each pixel, H W: a value from the file, the index of its color in `colors`, or a region's class.

    Raises:
        ImageError: the file cannot be read, or is a color image where values are expected.
    """
    if mask.path is None:
        return regions.paint(mask.regions, mask.width, mask.height).astype(np.uint16)
    image = _opened(_file(mask, mask.path))
    if mask.coding == "alpha":
        return _alpha(image).astype(np.uint16)
    return _by_color(image, mask) if mask.coding == "color" else _by_value(image, _where(mask))


def words(mask: Mask) -> str:
    """A text that identifies a mask wherever its folder is: the file's name and size in bytes, or the regions."""
    if mask.path is None:
        return repr(mask)
    size = mask.size_bytes if mask.within is None or mask.within.member is None else mask.within.member[1]
    if size is None:
        try:
            size = mask.path.stat().st_size
        except OSError:
            size = -1
    return repr((mask.path.name, size, mask.coding, mask.classes, mask.colors))


def peek(path: Path, coding: Coding = "index") -> tuple[tuple[int, ...], bool]:
    """The values that occur in a file, and whether it is a color image instead. An unreadable file has no values."""
    try:
        image = _opened(Located(path))
        if coding == "index" and image.mode in ("RGB", "RGBA") and _is_colorful(image):
            return (), True
        values = _alpha(image) if coding == "alpha" else _by_value(image, f"'{path}'")
        return tuple(np.flatnonzero(np.bincount(values.ravel())).tolist()), False
    except ImageError:
        return (), False


def is_in_alpha(paths: Sequence[Path]) -> bool:
    """Whether masks have a single color everywhere, and only their alpha channels differ."""
    colors: set[Color] = set()
    alphas: set[int] = set()
    for path in paths:
        try:
            image = _opened(Located(path))
        except ImageError:
            continue
        if image.mode not in ("RGBA", "LA"):
            return False
        colors.update(peek_colors(path))
        if len(colors) > 1:
            return False
        alphas.update(np.unique(_alpha(image)).tolist())
    return len(alphas) > 1


def ends(paths: Sequence[Path]) -> tuple[float, int]:
    """The share of pixels near 0 or 255, or 0 if either is missing; and the number of different values."""
    counts = np.zeros(256, np.int64)
    for path in paths:
        try:
            values = _by_value(_opened(Located(path)), f"'{path}'")
        except ImageError:
            continue
        counts += np.bincount(np.minimum(values, 255).ravel(), minlength=256)
    low, high, total = int(counts[:32].sum()), int(counts[224:].sum()), int(counts.sum())
    return (low + high) / max(total, 1) if low and high else 0.0, int(np.count_nonzero(counts))


def peek_colors(path: Path) -> tuple[Color, ...]:
    """The colors that occur in a file, after applying its palette if it has one.

    Raises:
        ImageError: the file cannot be read.
    """
    codes = np.unique(_codes(_opened(Located(path)))).tolist()
    return tuple((code >> 16, code >> 8 & 255, code & 255) for code in codes)


def is_lossy(mask: Mask) -> bool:
    """Whether the format of a mask's file changes values a little, as JPEG does."""
    if mask.path is None:
        return False
    try:
        with Image.open(io.BytesIO(_file(mask, mask.path).read())) as image:
            return image.format in _LOSSY
    except DECODE_ERRORS:
        return False


def palette(file: Located, values: Sequence[int]) -> tuple[Color, ...]:
    """The colors of these values in a palette image; () unless they are all different and more than a gray ramp."""
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            flat = (image.getpalette() or []) if image.mode == "P" else []
    except DECODE_ERRORS:
        return ()
    if 3 * max(values) + 3 > len(flat):
        return ()
    colors = tuple((flat[3 * value], flat[3 * value + 1], flat[3 * value + 2]) for value in values)
    ramp = all(color == (value, value, value) for value, color in zip(values, colors, strict=True))
    return colors if len(set(colors)) == len(colors) and not ramp else ()


def lookup(mask: Mask) -> NDArray[np.int16]:
    """The class of each of the 65536 values; `IGNORE` if it is ignored, -1 if it belongs to no class."""
    table = np.full(65536, -1, np.int16)
    table[IGNORE] = IGNORE
    given = mask.classes or tuple(range(len(mask.colors) if mask.coding == "color" else IGNORE))
    table[: len(given)] = given
    return table


def resized(classes: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A mask H W, resized to another size in px by nearest neighbor, so that no values are mixed."""
    if classes.shape == (height, width):
        return classes
    return np.array(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))  # a copy: callers may change it


def _by_value(image: Image.Image, where: str) -> NDArray[np.uint16]:
    if image.mode in ("RGB", "RGBA", "LA"):
        first = np.asarray(image)[:, :, 0]
        if image.mode != "LA" and _is_colorful(image):
            raise ImageError(
                f"{where} is a color image, but the dataset does not say which color is which class",
                hint="put a palette.csv with the columns name,r,g,b beside the folders, or save masks with one value per class",
            )
        return first.astype(np.uint16)
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
        raise ImageError(
            f"{where} is a mask of mode {image.mode}, not of one whole number per pixel", hint="save it as an 8-bit PNG"
        )
    values = np.asarray(image)
    if values.size and (int(values.max()) >= STRAY or int(values.min()) < 0):
        raise ImageError(f"{where} is a mask with values from {values.min()} to {values.max()}; 0 to 254 are expected")
    return values.astype(np.uint16)


def _by_color(image: Image.Image, mask: Mask) -> NDArray[np.uint16]:
    codes = _codes(image)
    known = np.array([red << 16 | green << 8 | blue for red, green, blue in mask.colors], np.uint32)
    order = np.argsort(known, kind="stable").astype(np.uint16)
    nearest = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
    return np.where(known[order][nearest] == codes, order[nearest], np.uint16(STRAY))


def _between(values: NDArray[np.uint16]) -> float:
    steps = np.diff(values.astype(np.int32), axis=1)
    changes = int(np.count_nonzero(steps))
    onward = np.sign(steps[:, 1:]) * np.sign(steps[:, :-1]) > 0
    return int(onward.sum()) / changes if changes else 0.0


def _codes(image: Image.Image) -> NDArray[np.uint32]:
    """Red, green and blue of each pixel in one number."""
    pixels = np.asarray(image.convert("RGB")).astype(np.uint32)
    pixels *= np.array([1 << 16, 1 << 8, 1], np.uint32)
    codes: NDArray[np.uint32] = pixels.sum(axis=2, dtype=np.uint32)
    return codes


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    """The alpha channel; opaque everywhere if there is none."""
    if "A" not in image.getbands():
        return np.full((image.height, image.width), 255, np.uint8)
    return np.asarray(image.getchannel("A"))


def _is_colorful(image: Image.Image) -> bool:
    pixels = np.asarray(image)[:, :, :3].astype(np.int16)
    differences = np.abs(pixels - pixels[:, :, :1])
    return int(differences.max(initial=0)) > (_CHROMA if image.format in _LOSSY else 0)


def _opened(file: Located) -> Image.Image:
    """The image as it is stored, neither converted nor rotated.

    Raises:
        ImageError: it cannot be read.
        ConnectionError: the server that has it cannot be reached.
    """
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            image.load()
            return image
    except ConnectionError:
        raise
    except DECODE_ERRORS as error:
        kind = failure(error)
        raise ImageError(f"'{file.shown}' {_WORDS.get(kind, f'is {kind}')}") from error


_WORDS = {
    "missing": "does not exist",
    "not-an-image": "is not an image",
    "bomb": "claims too many pixels",
    "unreadable": "cannot be read",
}


def _file(mask: Mask, path: Path) -> Located:
    return mask.within or Located(path)


def _where(mask: Mask) -> str:
    return "the mask" if mask.path is None else f"'{_file(mask, mask.path).shown}'"


def _strays(values: NDArray[np.uint16]) -> str:
    distinct, counts = np.unique(values, return_counts=True)
    total = int(counts.sum())
    if distinct[0] == STRAY:
        return f"{total:,} pixels of a color that no class has"
    shown = ", ".join(str(value) for value in distinct[:5].tolist())
    more = f" and {len(distinct) - 5} more" if len(distinct) > 5 else ""
    return f"{total:,} pixels of a value that no class has: {shown}{more}"

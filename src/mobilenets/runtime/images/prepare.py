"""Preprocessing outside of training: from an upright image to the array that a network takes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import MODES, decode_image, decode_sized
from mobilenets.runtime.images.placement import Placement, fit, placement
from mobilenets.runtime.images.sample import sampled
from mobilenets.specs.model import InputContract, Interpolation

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_WHOLE = 1 << 30  # px, larger than any image, so that nothing is shrunk
_LONGEST = 8  # aspect ratio of the resized image above which it is cropped before resizing


def prepare(image: Image.Image, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one decoded image, C H W, contiguous: resized, cropped, scaled and normalized by the contract.

    Raises:
        ImageError: the contract requires a number of channels that no image file has.
    """
    if contract.channels not in MODES:
        raise ImageError(f"the network takes {contract.channels} channels, which no image file has", hint="give it an array")
    mode = MODES[contract.channels]
    if image.mode != mode:
        image = image.convert(mode)
    if contract.resize == "sample":
        return normalize(sampled(image, contract.shape), contract)
    return _padded(normalize(resize(image, contract), contract), image.size, contract)


def prepare_channels(pixels: NDArray[np.uint8], contract: InputContract) -> NDArray[np.float32]:
    """The network's input for an array of pixels H W C, or H W for one channel. C may be any number.

    Args:
        pixels: must have as many channels as the contract.
        contract: the network's input contract.
    """
    if contract.channels in MODES:
        return prepare(Image.fromarray(pixels), contract)
    mean, std = (np.broadcast_to(values, contract.channels).tolist() for values in (contract.mean, contract.std))
    single = [replace(contract, channels=1, mean=(m,), std=(s,)) for m, s in zip(mean, std, strict=True)]
    channels = [prepare(Image.fromarray(pixels[:, :, c]), own) for c, own in enumerate(single)]
    return np.concatenate(channels)  # C H W


def load_input(source: bytes | Path, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one encoded image, C H W: `decode_image`, then `prepare`.

    Raises:
        ImageError: see `decode_image`.
    """
    return prepare(decode_image(source, channels=contract.channels, at_least=pixels_needed(contract)), contract)


def load_placed(source: bytes | Path, contract: InputContract) -> tuple[NDArray[np.float32], Placement]:
    """As `load_input`, together with the input's placement on the full-size image, however much decoding shrank it.

    Raises:
        ImageError: see `decode_image`.
    """
    image, (width, height) = decode_sized(source, channels=contract.channels, at_least=pixels_needed(contract))
    return prepare(image, contract), placement(width, height, contract)


def pixels_needed(contract: InputContract) -> int:
    """The shorter side, px, to which decoding may shrink a JPEG: twice what the network sees.

    At twice the pixels, the input differs from that of the full image by less than one level of 255 on average; at just the
    pixels needed, it differs by two to four.
    """
    if contract.resize == "sample":
        return _WHOLE
    cut = contract.resize in ("crop_then_stretch", "shorter_side_then_crop")
    return 2 * math.ceil(contract.size / contract.crop if cut else max(contract.shape))


def resize(image: Image.Image, contract: InputContract) -> Image.Image:
    """The image resized and cropped for the input, by any resize rule but "sample", which does not give an image.

    It has the shape of the input. With "letterbox" only one side has the full length, and the rest of the input is padding.
    """
    way, method = fit(image.width, image.height, contract), RESAMPLING[contract.interpolation]
    if way.cut != (0, 0, *image.size):
        image = image.crop(way.cut)
    width, height = way.size
    input_height, input_width = contract.shape
    if width <= input_width and height <= input_height:
        return image.resize(way.size, method)
    inner = (way.left, way.top, way.left + input_width, way.top + input_height)
    if max(width, height) > _LONGEST * min(width, height):  # crop first: the resized image would be huge
        scale_x, scale_y = image.width / width, image.height / height
        box = (inner[0] * scale_x, inner[1] * scale_y, inner[2] * scale_x, inner[3] * scale_y)
        return image.resize((input_width, input_height), method, box=box)
    return image.resize(way.size, method).crop(inner)


def normalize(image: Image.Image | NDArray[np.float32], contract: InputContract) -> NDArray[np.float32]:
    """An RGB or grey image, or its pixels H W C or H W, as C H W: `(pixel / 255 - mean) / std`, without resizing."""
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


def _padded(inner: NDArray[np.float32], size: tuple[int, int], contract: InputContract) -> NDArray[np.float32]:
    """The input with the resized image C h w in its place, surrounded by zeros, which stand for the mean.

    Args:
        inner: the resized image, normalized.
        size: width and height of the image before resizing, px.
        contract: the network's input contract.
    """
    if inner.shape[1:] == contract.shape:
        return inner
    way = fit(*size, contract)
    _, height, width = inner.shape
    array = np.zeros((contract.channels, *contract.shape), dtype=np.float32)
    array[:, -way.top : height - way.top, -way.left : width - way.left] = inner
    return array

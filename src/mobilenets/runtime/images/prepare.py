"""An upright image -> the array a network takes: the one preprocessing outside of training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import MODES, decode_image, decode_sized
from mobilenets.runtime.images.placement import Placement, letterbox, margin, placement, with_shorter_side
from mobilenets.runtime.images.sample import sampled
from mobilenets.specs.model import InputContract, Interpolation

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_WHOLE = 1 << 30  # px that no image has: nothing is shrunk
_LONGEST = 8  # sides of a network's input: beyond this a resized image is cut before it is made


def prepare(image: Image.Image, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one decoded image, C H W, contiguous: resized, cut, scaled and normalized by its contract.

    Raises:
        ImageError: the contract asks for a number of channels that no image file has.
    """
    if contract.channels not in MODES:
        raise ImageError(f"the network takes {contract.channels} channels, which no image file has", hint="give it an array")
    mode = MODES[contract.channels]
    if image.mode != mode:
        image = image.convert(mode)
    if contract.resize == "letterbox":
        return _letterboxed(image, contract)
    if contract.resize == "sample":
        return normalize(sampled(image, contract.shape), contract)
    return normalize(resize(image, contract), contract)


def load_input(source: bytes | Path, contract: InputContract) -> NDArray[np.float32]:
    """The network's input for one encoded image, C H W: `decode_image`, then `prepare`.

    Raises:
        ImageError: see `decode_image`.
    """
    return prepare(decode_image(source, channels=contract.channels, at_least=pixels_needed(contract)), contract)


def load_placed(source: bytes | Path, contract: InputContract) -> tuple[NDArray[np.float32], Placement]:
    """As `load_input`, with where the input lies on the whole image, however much decoding shrank it.

    Raises:
        ImageError: see `decode_image`.
    """
    image, (width, height) = decode_sized(source, channels=contract.channels, at_least=pixels_needed(contract))
    return prepare(image, contract), placement(width, height, contract)


def pixels_needed(contract: InputContract) -> int:
    """Shorter side, px, to which a JPEG may be shrunk in decoding: twice what the network sees.

    At twice the pixels the input differs from that of the whole image by less than one level of 255 on average;
    at just the pixels needed, by two to four.
    """
    if contract.resize == "sample":
        return _WHOLE
    cut = contract.resize in ("crop_then_stretch", "shorter_side_then_crop")
    return 2 * math.ceil(contract.size / contract.crop if cut else max(contract.shape))


def resize(image: Image.Image, contract: InputContract) -> Image.Image:
    """The image in the shape of the contract, by any resize rule but "letterbox" and "sample", which give no image."""
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
    """An RGB or grey image, or its pixels H W C or H W, as C H W: `(pixel / 255 - mean) / std`, no resizing."""
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


def _letterboxed(image: Image.Image, contract: InputContract) -> NDArray[np.float32]:
    down, across = contract.shape
    width, height = letterbox(image.width, image.height, contract)
    left, top = (across - width) // 2, (down - height) // 2
    array = np.zeros((contract.channels, down, across), dtype=np.float32)  # 0 is the mean after normalizing
    inner = normalize(image.resize((width, height), RESAMPLING[contract.interpolation]), contract)
    array[:, top : top + height, left : left + width] = inner
    return array

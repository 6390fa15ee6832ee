"""The arithmetic of the resize rules, in one place: how an image is mapped to a network's input, and back.

Three steps in whole pixels lead from an image to the input: crop a part of the image, resize it, and place the input somewhere
on the result. `Fit` holds these steps; `Placement` is the resulting mapping of coordinates, a scale and a shift.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.specs.model import InputContract


@dataclass(frozen=True, slots=True)
class Fit:
    """How an image is cropped, resized and placed under the input.

    Args:
        cut: x0 y0 x1 y1 of the crop, px of the image.
        size: width and height that the crop is resized to, px.
        left, top: position of the input's corner on the resized crop, px; negative if the input is padded.
    """

    cut: tuple[int, int, int, int]
    size: tuple[int, int]
    left: int = 0
    top: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the network's input lies on the upright image: `x_image = x_input * scale_x + left`, px, with edges at integers.

    Args:
        width, height: size of the image, px.
        scale_x, scale_y: px of the image per px of the input.
        left, top: position of the input's corner on the image, px; negative if the input is padded.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float


def fit(width: int, height: int, contract: InputContract) -> Fit:
    """How an image of `width` x `height` px is fitted to the input by the contract's resize rule."""
    input_height, input_width = contract.shape
    whole = (0, 0, width, height)
    if contract.resize == "letterbox":
        scale = min(input_width / width, input_height / height)
        inner_width = max(1, min(input_width, round(width * scale)))
        inner_height = max(1, min(input_height, round(height * scale)))
        return Fit(
            whole, (inner_width, inner_height), -((input_width - inner_width) // 2), -((input_height - inner_height) // 2)
        )
    if contract.resize == "shorter_side_then_crop":
        shorter = int(contract.size / contract.crop + 1e-6)  # timm rounds down; torchvision's 232 = 224 / (224 / 232) stays 232
        size = _with_shorter_side(width, height, shorter)
        return Fit(whole, size, round((size[0] - input_width) / 2), round((size[1] - input_height) / 2))
    if contract.resize == "crop_then_stretch":
        left, top = _margin(width, contract.crop), _margin(height, contract.crop)
        return Fit((left, top, width - left, height - top), (input_width, input_height))
    return Fit(whole, (input_width, input_height))


def placement(width: int, height: int, contract: InputContract) -> Placement:
    """Where the input lies on an image of `width` x `height` px."""
    way = fit(width, height, contract)
    x0, y0, x1, y1 = way.cut
    scale_x, scale_y = (x1 - x0) / way.size[0], (y1 - y0) / way.size[1]
    return Placement(width, height, scale_x, scale_y, x0 + way.left * scale_x, y0 + way.top * scale_y)


def _margin(side: int, crop: float) -> int:
    """Pixels cropped from each end of a side, computed as in `tf.image.central_crop`."""
    return int((side - side * crop) / 2)


def _with_shorter_side(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height with this shorter side; the longer side is rounded down as in torchvision's Resize."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter

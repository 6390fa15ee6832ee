"""The arithmetic of the resize rules, once: how an image is brought to a network's input, and back.

Three steps, each of whole pixels, lead from an image to the input: a part of the image is cut out, it is resized, and the input
lies somewhere on the result. `Fit` holds the three; `Placement` is what they come to for points: a scale and a shift.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.specs.model import InputContract


@dataclass(frozen=True, slots=True)
class Fit:
    """How an image is brought to the input.

    Args:
        cut: x0 y0 x1 y1 of the part of the image that is resized, px of the image.
        size: width and height that it is resized to, px.
        left, top: the input's corner on the resized part, px; negative where the input is padded.
    """

    cut: tuple[int, int, int, int]
    size: tuple[int, int]
    left: int = 0
    top: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the network's input lies on the image, upright: `x_image = x_input * scale_x + left`, in px, edges at integers.

    Args:
        width, height: of the image, px.
        scale_x, scale_y: px of the image per px of the input.
        left, top: of the input's corner on the image; negative where the input is padded.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float


def fit(width: int, height: int, contract: InputContract) -> Fit:
    """How an image of `width` x `height` px is brought to the input by the contract's resize rule."""
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
    """Pixels cut from each end of a side, as `tf.image.central_crop` counts them."""
    return int((side - side * crop) / 2)


def _with_shorter_side(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height with that shorter side, the longer rounded down as torchvision's Resize does."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter

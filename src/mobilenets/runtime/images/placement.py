"""`Placement`: where a network's input lies on the image it was made of, and the arithmetic of the resize rules."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.specs.model import InputContract


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


def placement(width: int, height: int, contract: InputContract) -> Placement:
    """Where the input lies on an image of `width` x `height` px."""
    down, across = contract.shape
    if contract.resize == "letterbox":
        inner_width, inner_height = letterbox(width, height, contract)
        scale_x, scale_y = width / inner_width, height / inner_height
        left, top = (across - inner_width) // 2, (down - inner_height) // 2
        return Placement(width, height, scale_x, scale_y, -left * scale_x, -top * scale_y)
    if contract.resize == "shorter_side_then_crop":
        whole_width, whole_height = with_shorter_side((width, height), int(contract.size / contract.crop + 1e-6))
        scale_x, scale_y = width / whole_width, height / whole_height
        left, top = round((whole_width - across) / 2), round((whole_height - down) / 2)
        return Placement(width, height, scale_x, scale_y, left * scale_x, top * scale_y)
    cut = contract.crop if contract.resize == "crop_then_stretch" else 1.0
    left, top = margin(width, cut), margin(height, cut)
    return Placement(width, height, (width - 2 * left) / across, (height - 2 * top) / down, left, top)


def margin(side: int, crop: float) -> int:
    """Pixels cut from each end of a side, as `tf.image.central_crop` counts them."""
    return int((side - side * crop) / 2)


def with_shorter_side(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height with that shorter side, the longer rounded down as torchvision's Resize does."""
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def letterbox(width: int, height: int, contract: InputContract) -> tuple[int, int]:
    """Width and height of the image inside the input, px."""
    down, across = contract.shape
    scale = min(across / width, down / height)
    return max(1, min(across, round(width * scale))), max(1, min(down, round(height * scale)))

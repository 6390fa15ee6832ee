"""Augmentation of images with bounding boxes, by torchvision.transforms.v2: both move together, and boxes stay valid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_iou
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from mobilenets.feeding.augment import seeded
from mobilenets.feeding.settings import BoxKeys

Window = tuple[int, int, int, int]  # left, top, right, bottom in px of the image; it may reach beyond the image

_CROPPED = 8  # px, side of the smallest window that is still cropped
_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # minimum overlap of a crop with a box; at 1 nothing is cropped
_TRIES = 40


@dataclass(frozen=True)
class BoxAugmentation(BoxKeys):
    """The augmentation settings for detection: the recipe's keys, and what follows from the network's input.

    One crop in seven leaves the image whole. The photometric changes are those of the SSD code, except that the color channels
    are not swapped, because colors help to distinguish objects.

    Args:
        height, width: size of the result, px, to which the image is stretched.
        fill: gray level, 0 to 255, around an image that is zoomed out.
    """

    height: int
    width: int
    fill: int = 128

    @property
    def shorter_side(self) -> int:
        """Shorter side, px, of stored images: the smallest crop then fills the result; at most 1.75 times the result's."""
        least = self.crop_scale_min if self.crop else 1.0
        return math.ceil(max(self.height, self.width) * min(1.75, 1 / least))


class BoxAugment:
    """Applies a `BoxAugmentation`. Equal seeds give equal results, and the global random state is left unchanged.

    Args:
        augmentation: the settings to apply.
    """

    def __init__(self, augmentation: BoxAugmentation) -> None:
        self.augmentation = augmentation
        horizontal, vertical = augmentation.flip_horizontal, augmentation.flip_vertical
        self._flips = v2.Compose([v2.RandomHorizontalFlip(horizontal), v2.RandomVerticalFlip(vertical)])
        self._distort = v2.RandomPhotometricDistort(p=augmentation.photometric)

    def __call__(
        self, image: Tensor, boxes: Tensor, labels: Tensor, seed: int, *, ignored: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augment an image, and keep the boxes that are still visible in it.

        Args:
            image: uint8, C H W, of any size.
            boxes: float32, N 4: x0 y0 x1 y1 in px of the image. N may be 0.
            labels: N or N K: the values that belong to each box.
            seed: seed of all random choices.
            ignored: N of bool: boxes that are ignored in training. No crop is chosen to include them, and whatever part of them
                a crop leaves is kept, wherever their centers are.

        Returns:
            The image, uint8 C height width; the boxes, M 4 in px of that image and inside it; and their labels, M or M K.
        """
        settings = self.augmentation
        learned = torch.ones(len(boxes), dtype=torch.bool) if ignored is None else ~ignored
        with seeded(seed):
            window = _canvas(image.shape[-1], image.shape[-2], settings)
            inside = torch.ones(len(boxes), dtype=torch.bool)
            if float(torch.rand(())) < settings.crop:
                window, inside[learned] = _cropped(window, boxes[learned], settings)
            turn = int(torch.randint(8, ())) if settings.dihedral else 0
            height, width = (settings.width, settings.height) if turn % 2 else (settings.height, settings.width)
            seen, moved = _seen(image, boxes[inside], window, (height, width), settings.fill)
            flat = tv_tensors.BoundingBoxes(moved, format="XYXY", canvas_size=(height, width))
            image, flat = self._flips(tv_tensors.Image(seen), flat)
            seen, moved = _turned(image.as_subclass(Tensor), flat.as_subclass(Tensor), turn)
            if settings.photometric:
                seen = _distorted(seen, self._distort.make_params([seen]))
        moved, kept = _inside(moved, settings.height, settings.width, settings.smallest)
        return seen.contiguous(), moved, labels[inside][kept]


def _canvas(width: int, height: int, settings: BoxAugmentation) -> Window:
    """The image, or a larger canvas that contains it, in px of the image."""
    chance, side, across, down = torch.rand(4).tolist()
    if chance >= settings.zoom_out:
        return 0, 0, width, height
    side = 1 + (settings.zoom_out_max - 1) * side
    left, top = -int(across * (side - 1) * width), -int(down * (side - 1) * height)
    return left, top, left + int(side * width), top + int(side * height)


def _cropped(window: Window, boxes: Tensor, settings: BoxAugmentation) -> tuple[Window, Tensor]:
    """A random part of the window, and a mask N of bool of the boxes whose centers lie in it.

    This does the same as `v2.RandomIoUCrop`, which takes ten times as long; here all tries are drawn at once.
    """
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    whole = torch.ones(len(boxes), dtype=torch.bool)
    while len(boxes) and min(width, height) >= _CROPPED:
        least = _OVERLAPS[int(torch.randint(len(_OVERLAPS), ()))]
        if least >= 1:
            return window, whole
        share, position = torch.rand(2, _TRIES, 2)  # tries 2
        share = settings.crop_scale_min + (1 - settings.crop_scale_min) * share
        whole_size = torch.tensor([width, height])
        size = (whole_size * share).long()  # tries 2: width and height
        corner = ((whole_size - size) * position).long() + torch.tensor([left, top])  # tries 2: x0 and y0
        crops = torch.cat([corner, corner + size], dim=1).float()  # tries 4
        ratio = size[:, 0] / size[:, 1]
        fits = (ratio <= settings.crop_ratio_max) & (ratio >= 1 / settings.crop_ratio_max) & (size > 0).all(dim=1)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centers > crops[:, None, :2]) & (centers < crops[:, None, 2:])).all(dim=2)  # tries N
        best = torch.where(inside, box_iou(crops, boxes), -1.0).amax(dim=1)
        good = (fits & (best >= max(least, 0.0))).nonzero()
        if len(good):
            i = int(good[0])
            x0, y0, x1, y1 = (int(edge) for edge in crops[i])
            return (x0, y0, x1, y1), inside[i]
    return window, whole


def _seen(image: Tensor, boxes: Tensor, window: Window, shape: tuple[int, int], fill: int) -> tuple[Tensor, Tensor]:
    """The window's content, stretched to height and width, with the boxes in px of the result. Outside the image it is gray."""
    left, top, right, bottom = window
    height, width = image.shape[-2:]
    down, across = shape[0] / (bottom - top), shape[1] / (right - left)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    moved = (boxes - torch.tensor([left, top, left, top])) * torch.tensor([across, down, across, down])
    if x0 >= x1 or y0 >= y1:
        return torch.full((len(image), *shape), fill, dtype=torch.uint8), moved
    to_x0, to_x1 = _span(x0 - left, x1 - left, across, shape[1])
    to_y0, to_y1 = _span(y0 - top, y1 - top, down, shape[0])
    part = image[:, y0:y1, x0:x1]
    part = functional.resize(part, [to_y1 - to_y0, to_x1 - to_x0], InterpolationMode.BILINEAR, antialias=True)
    if part.shape[-2:] == shape:
        return part, moved
    full = torch.full((len(image), *shape), fill, dtype=torch.uint8)
    full[:, to_y0:to_y1, to_x0:to_x1] = part
    return full, moved


def _span(first: int, last: int, scale: float, side: int) -> tuple[int, int]:
    """The position of a stretch of the window in the result, in whole px and at least one px long."""
    start = min(round(first * scale), side - 1)
    return start, max(start + 1, min(round(last * scale), side))


def _distorted(image: Tensor, drawn: dict[str, Any]) -> Tensor:
    """Apply the changes that `v2.RandomPhotometricDistort` drew, except for the channel order.

    The hue is changed on a Pillow image, in 8 bits, because doing so on a tensor takes ten times as long.
    """
    contrast, saturation, hue = drawn["contrast_factor"], drawn["saturation_factor"], drawn["hue_factor"]
    if drawn["brightness_factor"] is not None:
        image = functional.adjust_brightness(image, drawn["brightness_factor"])
    if contrast is not None and drawn["contrast_before"]:
        image = functional.adjust_contrast(image, contrast)
    if saturation is not None:
        image = functional.adjust_saturation(image, saturation)
    if hue is not None and len(image) == 3:
        image = functional.pil_to_tensor(functional.adjust_hue(functional.to_pil_image(image), hue))
    if contrast is not None and not drawn["contrast_before"]:
        image = functional.adjust_contrast(image, contrast)
    return image


def _inside(boxes: Tensor, height: int, width: int, smallest: float) -> tuple[Tensor, Tensor]:
    """The boxes that are still large enough after clipping to the image, and a mask N of bool that marks them."""
    most = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    cut = boxes.clamp(min=0).minimum(most)
    kept = ((cut[:, 2:] - cut[:, :2]) >= max(smallest, 1e-3)).all(dim=1)
    return cut[kept], kept


def _turned(image: Tensor, boxes: Tensor, which: int) -> tuple[Tensor, Tensor]:
    """Turn the image and boxes counterclockwise by `which % 4` quarter turns, and mirror them if `which` is 4 or more."""
    for _ in range(which % 4):
        width = image.shape[-1]
        image = torch.rot90(image, 1, (-2, -1))
        x0, y0, x1, y1 = boxes.unbind(1)
        boxes = torch.stack([y0, width - x1, y1, width - x0], dim=1)
    if which >= 4:
        width = image.shape[-1]
        image = image.flip(-1)
        x0, y0, x1, y1 = boxes.unbind(1)
        boxes = torch.stack([width - x1, y0, width - x0, y1], dim=1)
    return image, boxes

"""Augmentation of images with masks, by torchvision.transforms.v2: both move together, and masks are never mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from mobilenets.data.masks import IGNORE
from mobilenets.feeding.augment import seeded
from mobilenets.feeding.settings import MaskKeys


@dataclass(frozen=True)
class MaskAugmentation(MaskKeys):
    """The augmentation settings for segmentation: the recipe's keys, and what follows from the network's input.

    Args:
        height, width: size of the result, px: the network's input. The scale is drawn uniformly (DeepLabv3, section 4.1).
        keep_ratio: whether the image keeps its aspect ratio, as under "letterbox"; else it is stretched, as under "stretch".
        fill: gray level, 0 to 255, around an image that is smaller than the result. The mask is ignored there.
    """

    height: int
    width: int
    keep_ratio: bool = False
    fill: int = 128

    def stored_size(self, width: int, height: int) -> tuple[int, int]:
        """The width and height, px, to store an image of this size at: its own size, unless no scale needs that much."""
        across, down = self.width * self.scale_max, self.height * self.scale_max
        ratio = max(across / width, down / height)
        return (width, height) if ratio >= 1 else (math.ceil(width * ratio), math.ceil(height * ratio))


class MaskAugment:
    """Applies a `MaskAugmentation`. Equal seeds give equal results, and the global random state is left unchanged.

    Args:
        augmentation: the settings to apply.
    """

    def __init__(self, augmentation: MaskAugmentation) -> None:
        self.augmentation = augmentation
        self._steps = v2.Compose(_steps(augmentation)) if _steps(augmentation) else None

    def __call__(self, image: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Augment an image C H W and its mask H W, both uint8 and of any one size, to C height width and height width."""
        with seeded(seed):
            image, mask = _placed(image, mask, self.augmentation)
            if self._steps is not None:
                image, mask = self._steps(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return image.as_subclass(Tensor).contiguous(), mask.as_subclass(Tensor).contiguous()


def _steps(settings: MaskAugmentation) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if settings.flip_horizontal:
        steps.append(v2.RandomHorizontalFlip(settings.flip_horizontal))
    if settings.flip_vertical:
        steps.append(v2.RandomVerticalFlip(settings.flip_vertical))
    if settings.brightness or settings.contrast or settings.saturation or settings.hue:
        steps.append(v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue))
    return steps


def _placed(image: Tensor, mask: Tensor, settings: MaskAugmentation) -> tuple[Tensor, Tensor]:
    """The image at a random scale: what exceeds the result is cropped at random, and what is missing is filled."""
    height, width = mask.shape
    scale, at_y, at_x = torch.rand(3).tolist()
    scale = settings.scale_min + (settings.scale_max - settings.scale_min) * scale
    down, across = settings.height / height, settings.width / width
    if settings.keep_ratio:
        down = across = min(down, across)
    top, tall, out_top, out_tall = _along(height, settings.height, scale * down, at_y)
    left, wide, out_left, out_wide = _along(width, settings.width, scale * across, at_x)
    image = functional.resize(
        image[:, top : top + tall, left : left + wide], [out_tall, out_wide], InterpolationMode.BILINEAR, antialias=True
    )
    mask = functional.resize(
        mask[None, top : top + tall, left : left + wide], [out_tall, out_wide], InterpolationMode.NEAREST_EXACT
    )[0]
    if (out_tall, out_wide) == (settings.height, settings.width):
        return image, mask
    full = torch.full((len(image), settings.height, settings.width), settings.fill, dtype=torch.uint8)
    full[:, out_top : out_top + out_tall, out_left : out_left + out_wide] = image
    full_mask = torch.full((settings.height, settings.width), IGNORE, dtype=torch.uint8)
    full_mask[out_top : out_top + out_tall, out_left : out_left + out_wide] = mask
    return full, full_mask


def _along(side: int, result: int, scale: float, at: float) -> tuple[int, int, int, int]:
    """For one side: the first pixel and number of pixels to take from the image, and their position in the result.

    Args:
        side: length of the image's side, px.
        result: length of the result's side, px.
        scale: px of the result per px of the image.
        at: position of the crop or the padding, 0 to 1.
    """
    scaled = max(1, round(side * scale))
    if scaled <= result:
        return 0, side, round(at * (result - scaled)), scaled
    taken = max(1, min(side, round(result / scale)))
    return round(at * (side - taken)), taken, 0, result

"""The recipe settings for training images: augmentation, mixing and sampling. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilenets.keys import key

Policy = Literal["none", "trivial", "rand"]
Balance = Literal["none", "sample", "loss", "logits"]

CLASSIFY, DETECT, SEGMENT = ("classify",), ("detect",), ("segment",)
IMAGES_AND_BOXES, IMAGES_AND_MASKS = ("classify", "detect"), ("classify", "segment")


# fmt: off
@dataclass(frozen=True, kw_only=True)
class Flips:
    """Mirroring, for every task."""

    flip_horizontal: float = key(0.5, "chance of a horizontal flip", between=(0, 1))
    flip_vertical: float = key(0.0, "chance of a vertical flip", between=(0, 1))


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Quarter turns."""

    dihedral: bool = key(False, "one of the 8 rotations and flips, equally likely; for images without a fixed orientation, such as tiles", tasks=IMAGES_AND_BOXES)


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Random crops."""

    crop_scale_min: float = key(0.08, "smallest crop: share of the area; for detection, of each side", between=(1e-3, 1), tasks=IMAGES_AND_BOXES)
    crop_ratio_max: float = key(4 / 3, "largest ratio of a crop's width to its height, and of height to width", between=(1, 20), tasks=IMAGES_AND_BOXES)


@dataclass(frozen=True, kw_only=True)
class Colors:
    """Color jitter, as in torchvision's `ColorJitter`."""

    brightness: float = key(0.0, "largest change of brightness, as a share", between=(0, 10), tasks=IMAGES_AND_MASKS)
    contrast: float = key(0.0, "largest change of contrast, as a share", between=(0, 10), tasks=IMAGES_AND_MASKS)
    saturation: float = key(0.0, "largest change of saturation, as a share", between=(0, 10), tasks=IMAGES_AND_MASKS)
    hue: float = key(0.0, "largest change of hue, as a share of the color circle", between=(0, 0.5), tasks=IMAGES_AND_MASKS)


@dataclass(frozen=True, kw_only=True)
class ImageKeys(Flips, Turns, Crops, Colors):
    """Augmentation settings for labeled images."""

    crop_scale_max: float = key(1.0, "largest crop: share of the area", between=(1e-3, 1), tasks=CLASSIFY)
    rotation_degrees: float = key(0.0, "largest rotation, in either direction", between=(0, 180), tasks=CLASSIFY)
    policy: Policy = key("none", "TrivialAugment (trivial) or RandAugment (rand)", tasks=CLASSIFY)
    rand_layers: int = key(2, "operations of RandAugment", between=(0, 16), tasks=CLASSIFY, needs=("policy", "rand"))
    rand_magnitude: int = key(9, "strength of RandAugment, 0 to 30", between=(0, 30), tasks=CLASSIFY, needs=("policy", "rand"))
    rand_probability: float = key(1.0, "chance of each operation of RandAugment", between=(0, 1), tasks=CLASSIFY, needs=("policy", "rand"))
    erase: float = key(0.0, "chance that a random rectangle is erased", between=(0, 1), tasks=CLASSIFY)


@dataclass(frozen=True, kw_only=True)
class BoxKeys(Flips, Turns, Crops):
    """Augmentation settings for images with bounding boxes."""

    zoom_out: float = key(0.0, "chance that the image is laid on a larger canvas (SSD, section 3.6)", between=(0, 1), tasks=DETECT)
    zoom_out_max: float = key(4.0, "longest side of that canvas, as a multiple of the image's", between=(1, 16), tasks=DETECT, needs=("zoom_out",))
    crop: float = key(1.0, "chance of a crop that overlaps an object (SSD, section 2.2)", between=(0, 1), tasks=DETECT)
    photometric: float = key(0.0, "chance of each change of brightness, contrast, saturation and hue, as strong as in SSD", between=(0, 1), tasks=DETECT)
    smallest: float = key(1.0, "smaller boxes are left out of training, px of the input", between=(0, 1000), tasks=DETECT)


@dataclass(frozen=True, kw_only=True)
class MaskKeys(Flips, Colors):
    """Augmentation settings for images with masks."""

    scale_min: float = key(0.5, "smallest scale of the image; at 1 it fills the input", between=(0.05, 20), tasks=SEGMENT)
    scale_max: float = key(2.0, "largest scale of the image", between=(0.05, 20), tasks=SEGMENT)


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mixing of the images in a batch. If both methods are on, each is equally likely."""

    mixup_alpha: float = key(0.0, "parameter of the Beta distribution of mixup; 0 turns it off", between=(0, 100), tasks=CLASSIFY)
    cutmix_alpha: float = key(0.0, "parameter of the Beta distribution of CutMix; 0 turns it off", between=(0, 100), tasks=CLASSIFY)
    mix_probability: float = key(1.0, "chance that a batch is mixed; needs mixup_alpha or cutmix_alpha", between=(0, 1), tasks=CLASSIFY)


@dataclass(frozen=True, kw_only=True)
class Balancing:
    """Balancing of classes of unequal size."""

    balance: Balance = key("none", "sample: draw rare classes as often as others; loss: give them more weight; logits: logit adjustment. Segmentation supports none and loss", tasks=IMAGES_AND_MASKS)
# fmt: on

"""Training augmentation with torchvision.transforms.v2: per-image augmentation, and mixing within a batch.

Each image is augmented under its own seed, so the result does not depend on which process augments it or when.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from mobilenets.feeding.settings import ImageKeys


@dataclass(frozen=True, kw_only=True)
class Augmentation(ImageKeys):
    """The augmentation settings for classification: the recipe's keys, and what follows from the network's input.

    Args:
        size: side of the square result, px.
        fill: gray level, 0 to 255, of the area that a rotation or erasing uncovers.
    """

    size: int
    fill: int = 128

    @property
    def shorter_side(self) -> int:
        """Shorter side, px, of stored images: the smallest crop then fills the input; at most 1.75 times the input's side."""
        return math.ceil(self.size * min(1.75, 1 / math.sqrt(self.crop_scale_min)))


class Augment:
    """Applies an `Augmentation`. Equal seeds give equal results, and the global random state is left unchanged.

    Args:
        augmentation: the settings to apply.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._dihedral = augmentation.dihedral
        self._steps = v2.Compose(_steps(augmentation))

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Augment an image of any size, C H W of uint8, and return it as uint8 C size size."""
        with seeded(seed):
            if self._dihedral:
                image = _turned(image, int(torch.randint(8, ())))
            augmented: Tensor = self._steps(image)
        return augmented.contiguous()


class Mix:
    """Mixup and CutMix of a batch. If both are on, each is equally likely.

    Args:
        classes: the number of classes.
        mixup_alpha, cutmix_alpha: parameter of the Beta distribution; 0 turns the method off.
        probability: the probability that a batch is mixed.
    """

    def __init__(self, classes: int, *, mixup_alpha: float, cutmix_alpha: float, probability: float = 1.0) -> None:
        self.classes = classes
        self.probability = probability
        self._ways: list[v2.Transform] = []
        if mixup_alpha > 0:
            self._ways.append(v2.MixUp(alpha=float(mixup_alpha), num_classes=classes))
        if cutmix_alpha > 0:
            self._ways.append(v2.CutMix(alpha=float(cutmix_alpha), num_classes=classes))

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The mixed batch: images N C H W and class shares N classes. An unmixed batch is returned as it came."""
        if not self._ways:
            return images, labels
        with seeded(seed):
            if float(torch.rand(())) >= self.probability:
                return images, labels
            way = self._ways[int(torch.randint(len(self._ways), ()))]
            mixed: tuple[Tensor, Tensor] = way(images, labels)
        return mixed


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that depends only on `parts`, so it is the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU random numbers inside the block, and restore their previous state after it."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _steps(settings: Augmentation) -> list[v2.Transform]:
    fill: float = settings.fill
    bilinear = InterpolationMode.BILINEAR
    ratio = (1 / settings.crop_ratio_max, settings.crop_ratio_max)
    steps: list[v2.Transform] = [
        v2.RandomResizedCrop(
            settings.size, scale=(settings.crop_scale_min, settings.crop_scale_max), ratio=ratio, antialias=True
        )
    ]
    if settings.flip_horizontal:
        steps.append(v2.RandomHorizontalFlip(settings.flip_horizontal))
    if settings.flip_vertical:
        steps.append(v2.RandomVerticalFlip(settings.flip_vertical))
    if settings.rotation_degrees:
        steps.append(v2.RandomRotation(settings.rotation_degrees, interpolation=bilinear, fill=fill))
    if settings.brightness or settings.contrast or settings.saturation or settings.hue:
        steps.append(v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue))
    if settings.policy == "trivial":
        steps.append(v2.TrivialAugmentWide(interpolation=bilinear, fill=fill))
    if settings.policy == "rand":
        layer = v2.RandAugment(1, settings.rand_magnitude, interpolation=bilinear, fill=fill)
        steps += [v2.RandomApply([layer], p=settings.rand_probability) for _ in range(settings.rand_layers)]
    if settings.erase:
        steps.append(v2.RandomErasing(settings.erase, value=fill))
    return steps


def _turned(image: Tensor, which: int) -> Tensor:
    turned = torch.rot90(image, which % 4, (-2, -1))
    return turned.flip(-1) if which >= 4 else turned

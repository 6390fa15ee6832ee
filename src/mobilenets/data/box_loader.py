"""`Boxed`: the teacher of detectors, whom `loader.Pictures` draws from: augmented pictures, and targets made of their boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.augment_boxes import BoxAugment, BoxAugmentation
from mobilenets.data.loader import Loaded, decoded
from mobilenets.data.samples import Sample
from mobilenets.runtime import image

Targets = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""What is learned of a picture's boxes, M x 4 in px of the input, and labels, int64 M: of the same shapes for any M."""


class Boxed:
    """Teaches the boxes of a picture. Crowds are not shown; difficult objects are.

    Args:
        augmentation: what happens to the picture.
        channels: 3 or 1.
        targets: called for each picture, where it is augmented: in a worker.
    """

    def __init__(self, augmentation: BoxAugmentation, targets: Targets, *, channels: int) -> None:
        self.augmentation = augmentation
        self.channels = channels
        self.targets = targets
        self._augment = BoxAugment(augmentation)

    def load(self, sample: Sample) -> Loaded:
        """The picture, no larger than its smallest crop needs; its boxes in px of that, float32 N 4; their labels, int64 N."""
        data = sample.read()
        width, height = image.upright_size(data)
        pixels = decoded(data, self.channels, self.augmentation.shorter_side)
        boxes, labels = learnable(sample)
        across, down = pixels.shape[1] / width, pixels.shape[0] / height
        return pixels, boxes * np.array([across, down, across, down], np.float32), labels

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented picture and the targets of the boxes that are still on it."""
        pixels, boxes, labels = (torch.from_numpy(array) for array in loaded)
        picture, boxes, labels = self._augment(pixels.permute(2, 0, 1), boxes, labels, seed)
        return picture, self.targets(boxes, labels)

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Grey, without an object."""
        one = self.augmentation
        picture = torch.full((self.channels, one.height, one.width), one.fill, dtype=torch.uint8)
        return picture, self.targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def learnable(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The sample's boxes that have an area and are no crowds, N 4 in px of the picture, and their labels, N."""
    shown = [box for box in sample.boxes if not box.crowd and box.width > 0 and box.height > 0]
    boxes = np.array([box.corners for box in shown], np.float32).reshape(-1, 4)
    return boxes, np.array([box.label for box in shown], np.int64)

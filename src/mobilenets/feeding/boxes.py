"""`Boxed`: the teacher for detection. It gives `TrainingImages` augmented images and the targets built from their boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.data.samples import Sample
from mobilenets.feeding.augment_boxes import BoxAugment, BoxAugmentation
from mobilenets.feeding.loader import Loaded, decoded
from mobilenets.runtime.images.decode import upright_size

Targets = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
"""Builds an image's targets from its boxes, M x 4 in px of the input, their labels, int64 M, and a mask of the boxes that are
ignored in training, bool M. The targets have the same shapes for any M."""


class Boxed:
    """Teaches the bounding boxes of an image: where objects are, and where crowds and difficult objects leave it undecided.

    Args:
        augmentation: how the image is augmented.
        channels: 3 or 1.
        targets: called for each image in the process that augments it, a worker.
    """

    def __init__(self, augmentation: BoxAugmentation, targets: Targets, *, channels: int) -> None:
        self.augmentation = augmentation
        self.channels = channels
        self.targets = targets
        self._augment = BoxAugment(augmentation)

    def load(self, sample: Sample) -> Loaded:
        """The image, no larger than its smallest crop needs, with its boxes in px of that image, as `objects` returns them."""
        data = sample.read()
        width, height = upright_size(data)
        pixels = decoded(data, self.channels, self.augmentation.shorter_side)
        boxes, labels, ignored = objects(sample)
        across, down = pixels.shape[1] / width, pixels.shape[0] / height
        return pixels, boxes * np.array([across, down, across, down], np.float32), labels, ignored

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image, and the targets for the boxes that are still in it."""
        pixels, boxes, labels, ignored = (torch.from_numpy(array) for array in loaded)
        both = torch.stack([labels, ignored.to(torch.int64)], dim=1)
        image, boxes, both = self._augment(pixels.permute(2, 0, 1), boxes, both, seed, ignored=ignored)
        return image, self.targets(boxes, both[:, 0], both[:, 1] > 0)

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A gray image without objects."""
        settings = self.augmentation
        image = torch.full((self.channels, settings.height, settings.width), settings.fill, dtype=torch.uint8)
        return image, self.targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))


def objects(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """The sample's boxes with a nonzero area, N 4 in px of the image, their labels, N, and a mask of the ignored ones, N.

    Crowds and difficult objects are ignored: the detector is taught neither to find them nor to treat them as background.
    """
    shown = [box for box in sample.boxes if box.width > 0 and box.height > 0]
    boxes = np.array([box.corners for box in shown], np.float32).reshape(-1, 4)
    labels = np.array([box.label for box in shown], np.int64)
    return boxes, labels, np.array([box.crowd or box.difficult for box in shown], np.bool_)

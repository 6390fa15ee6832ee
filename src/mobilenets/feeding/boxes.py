"""`Boxed`: the teacher of detectors, from whom `TrainingImages` draws augmented images, and targets made of their boxes."""

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
"""What is learned of an image's boxes, M x 4 in px of the input, of their labels, int64 M, and of which are not to be learned,
bool M: of the same shapes for any M."""


class Boxed:
    """Teaches the boxes of an image: where an object is, and where crowds and difficult ones leave open what there is.

    Args:
        augmentation: what happens to the image.
        channels: 3 or 1.
        targets: called for each image, where it is augmented: in a worker.
    """

    def __init__(self, augmentation: BoxAugmentation, targets: Targets, *, channels: int) -> None:
        self.augmentation = augmentation
        self.channels = channels
        self.targets = targets
        self._augment = BoxAugment(augmentation)

    def load(self, sample: Sample) -> Loaded:
        """The image, no larger than its smallest crop needs, with its boxes in px of that, as `objects` gives them."""
        data = sample.read()
        width, height = upright_size(data)
        pixels = decoded(data, self.channels, self.augmentation.shorter_side)
        boxes, labels, ignored = objects(sample)
        across, down = pixels.shape[1] / width, pixels.shape[0] / height
        return pixels, boxes * np.array([across, down, across, down], np.float32), labels, ignored

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image and the targets of the boxes that are still on it."""
        pixels, boxes, labels, ignored = (torch.from_numpy(array) for array in loaded)
        both = torch.stack([labels, ignored.to(torch.int64)], dim=1)
        image, boxes, both = self._augment(pixels.permute(2, 0, 1), boxes, both, seed, ignored=ignored)
        return image, self.targets(boxes, both[:, 0], both[:, 1] > 0)

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Grey, without an object."""
        one = self.augmentation
        image = torch.full((self.channels, one.height, one.width), one.fill, dtype=torch.uint8)
        return image, self.targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))


def objects(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """The sample's boxes that have an area, N 4 in px of the image, their labels, N, and which are not to be learned, N.

    Those are crowds and difficult objects: a detector is neither taught to find them nor to find nothing there.
    """
    shown = [box for box in sample.boxes if box.width > 0 and box.height > 0]
    boxes = np.array([box.corners for box in shown], np.float32).reshape(-1, 4)
    labels = np.array([box.label for box in shown], np.int64)
    return boxes, labels, np.array([box.crowd or box.difficult for box in shown], np.bool_)

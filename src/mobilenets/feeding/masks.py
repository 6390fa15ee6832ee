"""`Masked`: the teacher for segmentation. It gives `loader.TrainingImages` augmented images and their masks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mobilenets.data import masks
from mobilenets.data.masks import IGNORE
from mobilenets.data.samples import Sample
from mobilenets.errors import ImageError
from mobilenets.feeding.augment_masks import MaskAugment, MaskAugmentation
from mobilenets.feeding.loader import Loaded
from mobilenets.runtime.images.decode import decode_image, upright_size


class Masked:
    """Teaches the class of every pixel. The target is the mask, uint8 H W, with `masks.IGNORE` at ignored pixels.

    Args:
        augmentation: how the image and its mask are augmented.
        channels: 3 or 1.
    """

    def __init__(self, augmentation: MaskAugmentation, *, channels: int) -> None:
        self.augmentation = augmentation
        self.channels = channels
        self._augment = MaskAugment(augmentation)

    def load(self, sample: Sample) -> Loaded:
        """The image H W C, no larger than its largest scale needs, and its mask H W of the same size.

        Raises:
            ImageError: the image or mask cannot be decoded, the mask is missing, or their sizes differ.
            OSError: a file cannot be read.
        """
        if sample.mask is None:
            raise ImageError(f"'{sample.name}' has no mask")
        data = sample.read()
        full = upright_size(data)
        classes = masks.read(sample.mask)
        if classes.shape[::-1] != full:
            raise ImageError(f"the mask is {classes.shape[1]} x {classes.shape[0]} px, but the image is {full[0]} x {full[1]}")
        width, height = self.augmentation.stored_size(*full)
        image = decode_image(data, channels=self.channels, at_least=min(width, height))
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.array(image)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels, masks.resized(classes, width, height)

    def show(self, loaded: Loaded, sample: Sample, seed: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The augmented image and its mask."""
        pixels, classes = (torch.from_numpy(array) for array in loaded)
        image, mask = self._augment(pixels.permute(2, 0, 1), classes, seed)
        return image, (mask,)

    def blank(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A gray image whose pixels are all ignored."""
        settings = self.augmentation
        image = torch.full((self.channels, settings.height, settings.width), settings.fill, dtype=torch.uint8)
        return image, (torch.full((settings.height, settings.width), IGNORE, dtype=torch.uint8),)

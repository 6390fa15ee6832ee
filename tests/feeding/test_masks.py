from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.samples import Sample
from mobilenets.errors import ImageError
from mobilenets.feeding.augment_masks import MaskAugmentation
from mobilenets.feeding.loader import TrainingImages, collate
from mobilenets.feeding.masks import Masked

PLAIN = MaskAugmentation(20, 30, scale_min=1, scale_max=1, flip_horizontal=0)


def sample(folder: Path, name: str, classes: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> Sample:
    """An image whose red is 50 times each pixel's class, saved without loss."""
    red = (classes % 5 * 50).astype(np.uint8)
    Image.fromarray(np.stack([red, red * 0, red * 0], axis=2)).save(folder / f"{name}.png")
    Image.fromarray(classes).save(folder / f"{name}_mask.png")
    return Sample(folder / f"{name}.png", -1, "train", name=name, mask=Mask(folder / f"{name}_mask.png"))


def halves(left: int, right: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    mask = np.full(shape, left, np.uint8)
    mask[:, shape[1] // 2 :] = right
    return mask


def test_a_batch_has_images_and_their_masks(tmp_path: Path) -> None:
    samples = [sample(tmp_path, "a", halves(0, 1)), sample(tmp_path, "b", halves(2, IGNORE))]
    images = TrainingImages(samples, Masked(PLAIN, channels=3), seed=0)
    batch = collate([images[(0, 0, 0)], images[(0, 1, 1)]])
    assert batch.images.shape == (2, 3, 20, 30)
    (mask,) = batch.targets
    assert mask.dtype == torch.uint8
    assert torch.bincount(mask[0].flatten()).tolist() == [300, 300]
    assert set(mask[1].flatten().tolist()) == {2, IGNORE}
    assert (batch.images[0, 0] == mask[0] * 50).all()


def test_kept_images_are_the_same(tmp_path: Path) -> None:
    one = sample(tmp_path, "a", halves(0, 1))
    images = TrainingImages([one], Masked(MaskAugmentation(16, 16), channels=3), seed=0)
    before = images[(0, 3, 0)]
    assert images.keep(1, threads=1) == 1
    after = images[(0, 3, 0)]
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1][0], after[1][0])


def test_a_large_image_and_its_mask_are_kept_smaller_together(tmp_path: Path) -> None:
    one = sample(tmp_path, "a", halves(0, 4, (400, 600)))
    pixels, classes = Masked(PLAIN, channels=1).load(one)
    assert (pixels.shape, classes.shape) == ((20, 30, 1), (20, 30))
    assert set(np.unique(classes).tolist()) == {0, 4}


@pytest.mark.filterwarnings("error")
def test_an_image_and_its_mask_become_tensors_that_may_be_written_to(tmp_path: Path) -> None:
    masked = Masked(MaskAugmentation(8, 12, scale_min=1, scale_max=1), channels=3)
    whole = sample(tmp_path, "a", halves(0, 1))
    assert [array.flags.writeable for array in masked.load(whole)] == [True, True]
    masked.show(masked.load(whole), whole, 0)


def test_a_mask_of_another_size_is_a_broken_image(tmp_path: Path) -> None:
    one = sample(tmp_path, "a", halves(0, 1))
    Image.new("L", (30, 21)).save(tmp_path / "a_mask.png")
    with pytest.raises(ImageError, match="the mask is 30 x 21 px, but the image is 30 x 20"):
        Masked(PLAIN, channels=3).load(one)
    image, (mask,), weight, broken = TrainingImages([one], Masked(PLAIN, channels=3), seed=0)[(0, 0, 0)]
    assert image.shape == (3, 20, 30)
    assert (mask == IGNORE).all()
    assert weight == 0
    assert broken[0][0] == "a"


def test_a_turned_photo_goes_with_the_mask_of_the_turned_one(tmp_path: Path) -> None:
    one = sample(tmp_path, "a", halves(0, 4))
    turned = Image.open(one.path).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(one.path, exif=exif)
    pixels, classes = Masked(PLAIN, channels=3).load(one)
    assert (pixels[:, :, 0] == classes * 50).all()

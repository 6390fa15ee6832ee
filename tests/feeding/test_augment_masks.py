from __future__ import annotations

import torch
from torch import Tensor

from mobilenets.data.masks import IGNORE
from mobilenets.feeding.augment_masks import MaskAugment, MaskAugmentation


def pair(height: int = 60, width: int = 80) -> tuple[Tensor, Tensor]:
    """An image whose red says each pixel's class, times 20, in blocks of 10."""
    rows, columns = torch.arange(height) // 10, torch.arange(width) // 10
    mask = ((rows[:, None] * 3 + columns[None]) % 12).to(torch.uint8)
    image = torch.stack([mask * 20, torch.zeros_like(mask), torch.zeros_like(mask)])
    return image, mask


def test_at_scale_1_the_whole_image_is_as_in_evaluation() -> None:
    image, mask = pair()
    augment = MaskAugment(MaskAugmentation(60, 80, scale_min=1, scale_max=1, flip_horizontal=0))
    found, classes = augment(image, mask, 0)
    assert torch.equal(found, image)
    assert torch.equal(classes, mask)


def test_image_and_mask_stay_together() -> None:
    image, mask = pair()
    augment = MaskAugment(MaskAugmentation(48, 48, flip_vertical=0.5))
    for seed in range(30):
        found, classes = augment(image, mask, seed)
        assert found.shape == (3, 48, 48)
        assert classes.shape == (48, 48)
        counted = classes != IGNORE
        agree = (found[0].int() - classes.int() * 20).abs()[counted] <= 2
        assert agree.float().mean() > 0.5  # the rest are edges of blocks
        inside = torch.nn.functional.max_pool2d(-classes[None].float(), 7, 1, 3)[0] == -classes
        inside &= torch.nn.functional.max_pool2d(classes[None].float(), 7, 1, 3)[0] == classes
        assert ((found[0].int() - classes.int() * 20).abs()[counted & inside] <= 2).all()


def test_a_mask_has_no_values_that_it_did_not_have() -> None:
    image, mask = pair()
    mask = torch.where(mask > 5, 11, 2).to(torch.uint8)
    augment = MaskAugment(MaskAugmentation(33, 47, brightness=0.5, hue=0.1))
    for seed in range(30):
        assert set(augment(image, mask, seed)[1].flatten().tolist()) <= {2, 11, IGNORE}


def test_what_a_small_image_leaves_is_gray_and_ignored() -> None:
    image, mask = pair()
    found, classes = MaskAugment(MaskAugmentation(60, 80, scale_min=0.5, scale_max=0.5))(image, mask, 1)
    assert (classes == IGNORE).sum() == 60 * 80 - 30 * 40
    assert (found[:, classes == IGNORE] == 128).all()


def test_the_ratio_is_kept_where_evaluation_keeps_it() -> None:
    image, mask = pair(40, 80)
    augment = MaskAugment(MaskAugmentation(80, 80, scale_min=1, scale_max=1, keep_ratio=True, flip_horizontal=0))
    assert (augment(image, mask, 0)[1] == IGNORE).sum() == 40 * 80


def test_a_seed_gives_one_result_and_leaves_the_global_state() -> None:
    image, mask = pair()
    augment = MaskAugment(MaskAugmentation(32, 32, brightness=0.3))
    before = torch.get_rng_state()
    first, again, other = augment(image, mask, 1), augment(image, mask, 1), augment(image, mask, 2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert type(first[0]) is type(first[1]) is Tensor


def test_a_large_image_is_kept_as_large_as_the_largest_scale_needs() -> None:
    augmentation = MaskAugmentation(100, 200, scale_max=2.0)
    assert augmentation.stored_size(4000, 3000) == (400, 300)
    assert augmentation.stored_size(300, 150) == (300, 150)

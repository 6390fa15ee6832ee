from __future__ import annotations

import pytest
import torch

from mobilenets.feeding.augment import Augment, Augmentation, Mix, seed_of, seeded


def _image(height: int = 40, width: int = 50, channels: int = 3) -> torch.Tensor:
    with seeded(0):
        return torch.randint(256, (channels, height, width), dtype=torch.uint8)


EVERYTHING = Augmentation(
    size=24,
    flip_vertical=0.5,
    dihedral=True,
    rotation_degrees=20,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.1,
    policy="rand",
    erase=0.5,
)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["none", "trivial", "rand"])
def test_equal_seeds_give_equal_images_and_others_do_not(policy: str, channels: int) -> None:
    augment = Augment(Augmentation(size=24, flip_vertical=0.5, rotation_degrees=20, policy=policy, erase=0.5))  # type: ignore[arg-type]
    image = _image(channels=channels)
    one, same, other = augment(image, 1), augment(image, 1), augment(image, 2)
    assert one.shape == (channels, 24, 24)
    assert one.dtype == torch.uint8
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_global_random_state_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    Augment(EVERYTHING)(_image(), 3)
    Mix(4, mixup_alpha=1, cutmix_alpha=1)(torch.ones(4, 3, 8, 8), torch.arange(4), 5)
    assert torch.equal(before, torch.get_rng_state())


def test_dihedral_gives_all_eight_turns_and_mirrors() -> None:
    whole = Augmentation(size=6, crop_scale_min=1, crop_ratio_max=1, flip_horizontal=0, dihedral=True)
    image = _image(6, 6)
    found = {Augment(whole)(image, seed).numpy().tobytes() for seed in range(100)}
    turns = [torch.rot90(mirrored, k, (-2, -1)) for mirrored in (image, image.flip(-1)) for k in range(4)]
    assert found == {turn.contiguous().numpy().tobytes() for turn in turns}


def test_nothing_switched_on_keeps_the_image() -> None:
    still = Augmentation(size=20, crop_scale_min=1, crop_ratio_max=1, flip_horizontal=0)
    image = _image(20, 20)
    assert torch.equal(Augment(still)(image, 0), image)


def test_vertical_flips_happen_about_as_often_as_asked() -> None:
    flip = Augmentation(size=8, crop_scale_min=1, crop_ratio_max=1, flip_horizontal=0, flip_vertical=0.25)
    image, augment = _image(8, 8), Augment(flip)
    flipped = sum(torch.equal(augment(image, seed), image.flip(-2)) for seed in range(400))
    assert 70 < flipped < 130  # 100 expected, standard deviation 8.7


@pytest.mark.parametrize(("scale", "side"), [(1.0, 224), (0.5, 317), (0.08, 392)])
def test_a_stored_image_is_large_enough_for_the_smallest_crop(scale: float, side: int) -> None:
    assert Augmentation(size=224, crop_scale_min=scale).shorter_side == side


def test_mixed_targets_are_shares_that_sum_to_one() -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    mixed, shares = Mix(3, mixup_alpha=0.8, cutmix_alpha=1.0)(images, labels, 7)
    assert mixed.shape == images.shape
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert ((shares > 0).sum(1) == 2).all()


def test_cutmix_shares_are_areas() -> None:
    images = torch.zeros(2, 1, 10, 10)
    images[1] = 1
    mixed, shares = Mix(2, mixup_alpha=0, cutmix_alpha=1.0)(images, torch.tensor([0, 1]), 3)
    torch.testing.assert_close(mixed[0].mean(), shares[0, 1])


def test_mixing_leaves_the_other_batches_alone() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    never, half = (Mix(4, mixup_alpha=1.0, cutmix_alpha=0, probability=p) for p in (0.0, 0.5))
    assert never(images, labels, 0)[1] is labels
    mixed = sum(half(images, labels, seed)[1] is not labels for seed in range(200))
    assert 70 < mixed < 130


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    assert seed_of(0, 1, 2) == seed_of(0, 1, 2)
    assert len({seed_of(0, 1, 2), seed_of(1, 0, 2), seed_of(0, 1, 3), seed_of(0, 12), seed_of(0, 1, "2")}) == 5
    assert 0 <= seed_of("anything") < 2**63

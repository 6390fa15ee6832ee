from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mobilenets.feeding import augment_boxes
from mobilenets.feeding.augment import seeded
from mobilenets.feeding.augment_boxes import BoxAugment, BoxAugmentation

STILL: dict[str, Any] = {"crop": 0.0, "flip_horizontal": 0.0}


def _squares(height: int = 120, width: int = 160) -> tuple[Tensor, Tensor, Tensor]:
    """A black image with three objects of a color each, their boxes, and labels 0 (red), 1 (green), 2 (blue)."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    boxes = torch.tensor([[10, 20, 60, 50], [80, 60, 140, 110], [20, 70, 50, 115]], dtype=torch.float32)
    for c, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
        image[c, y0:y1, x0:x1] = 255
    return image, boxes, torch.arange(3)


def _lit(image: Tensor, channel: int) -> list[int]:
    """The box around the pixels that are more than half bright."""
    ys, xs = (image[channel] > 127).nonzero().T
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop": 1.0},
        {"zoom_out": 1.0},
        {"zoom_out": 1.0, "crop": 1.0, "flip_horizontal": 0.5, "flip_vertical": 0.5},
        {"dihedral": True, "crop": 1.0, "zoom_out": 0.5},
    ],
)
def test_boxes_stay_around_their_objects(changes: dict[str, Any]) -> None:
    augment = BoxAugment(BoxAugmentation(240, 320, fill=0, **{**STILL, **changes}))
    seen = 0
    for seed in range(60):
        image, boxes, labels = augment(*_squares(), seed)
        assert image.shape == (3, 240, 320)
        assert image.dtype == torch.uint8
        for box, label in zip(boxes, labels.tolist(), strict=True):
            if (box[2:] - box[:2]).min() > 6:
                seen += 1
                assert box.tolist() == pytest.approx(_lit(image, label), abs=3), (seed, label)
    assert seen > 60


@given(
    seed=st.integers(0, 2**31),
    sides=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corners=st.lists(st.tuples(*[st.floats(-20, 120, width=32)] * 4), max_size=6),
    dihedral=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_boxes_are_valid_whatever_comes_in(
    seed: int, sides: tuple[int, int], corners: list[tuple[float, float, float, float]], dihedral: bool
) -> None:
    augment = BoxAugment(BoxAugmentation(48, 64, zoom_out=0.5, photometric=0.5, flip_vertical=0.5, dihedral=dihedral))
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    image, boxes, labels = augment(torch.zeros(3, *sides, dtype=torch.uint8), boxes, torch.arange(len(boxes)), seed)
    assert image.shape == (3, 48, 64)
    assert boxes.shape == (len(labels), 4)
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([64, 48, 64, 48])).all()


def test_equal_seeds_give_equal_results_and_leave_the_global_state_alone() -> None:
    augment = BoxAugment(BoxAugmentation(64, 64, zoom_out=0.5, photometric=0.5, dihedral=True))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (augment(*_squares(), seed) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_nothing_but_the_stretch_happens_where_nothing_is_asked_for() -> None:
    image, boxes, labels = _squares()
    stretched, moved, kept = BoxAugment(BoxAugmentation(60, 80, **STILL))(image, boxes, labels, 0)
    assert torch.equal(stretched, functional.resize(image, [60, 80], antialias=True))
    assert torch.equal(moved, boxes / 2)
    assert torch.equal(kept, labels)


def test_what_goes_with_a_box_may_have_several_columns() -> None:
    image, boxes, labels = _squares()
    more = torch.stack([labels, torch.tensor([0, 1, 0])], dim=1)
    _, moved, kept = BoxAugment(BoxAugmentation(64, 64))(image, boxes, more, 1)
    assert kept.shape == (len(moved), 2)


def test_crops_are_drawn_for_learned_objects_and_keep_what_they_leave_of_others() -> None:
    """The green box lies beside a crowd all over the image, whose center a crop around the green one may leave out."""
    image, boxes, labels = _squares()
    green = boxes[1:2]
    crowd = torch.tensor([[0.0, 0, 160, 120]])
    augment = BoxAugment(BoxAugmentation(64, 64, flip_horizontal=0))
    for seed in range(30):
        alone = augment(image, green, labels[1:2], seed)
        both = augment(image, torch.cat([crowd, green]), torch.tensor([7, 1]), seed, ignored=torch.tensor([True, False]))
        assert torch.equal(both[0], alone[0])
        assert both[2].tolist() == [7, 1]
        assert both[1].tolist() == [[0, 0, 64, 64], *alone[1].tolist()]


@pytest.mark.parametrize("seed", range(12))
def test_a_window_shows_what_torchvisions_pad_crop_and_resize_show(seed: int) -> None:
    random = np.random.default_rng(seed)
    image = torch.from_numpy(random.integers(0, 256, (3, 50, 70), dtype=np.uint8))
    image = functional.gaussian_blur(image, [9, 9])
    boxes = torch.tensor([[5.0, 6, 30, 40], [40, 10, 69, 49]])
    left, top, right, bottom = (-int(random.integers(0, 60)), -int(random.integers(0, 60)), 70 + 20, 50 + 31)
    padded = [-left, -top, right - 70, bottom - 50]
    theirs, placed = tv_tensors.Image(image), tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(50, 70))
    theirs, placed = (functional.pad(one, padded, fill=90) for one in (theirs, placed))
    theirs, placed = (functional.resize(one, [64, 96], antialias=True) for one in (theirs, placed))
    seen, moved = augment_boxes._seen(image, boxes, (left, top, right, bottom), (64, 96), 90)
    assert moved.numpy() == pytest.approx(placed.numpy(), abs=1e-3)
    assert (seen.float() - theirs.float()).abs().mean() < 4  # the edge of the image lies on whole pixels here


def test_crops_are_drawn_as_torchvision_draws_them() -> None:
    """Over many seeds: how often the image stays whole, the mean share of its sides, and the mean number of objects kept."""
    _, boxes, _ = _squares()
    theirs = v2.RandomIoUCrop()
    placed = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(120, 160))
    found: list[list[list[float]]] = [[], []]
    for seed in range(400):
        with seeded(seed):
            drawn = theirs.make_params([placed])
            if drawn:
                found[0].append([drawn["width"] / 160, drawn["height"] / 120, float(drawn["is_within_crop_area"].sum())])
        with seeded(seed):
            (x0, y0, x1, y1), inside = augment_boxes._cropped((0, 0, 160, 120), boxes, BoxAugmentation(64, 64))
            if (x0, y0, x1, y1) != (0, 0, 160, 120):
                found[1].append([(x1 - x0) / 160, (y1 - y0) / 120, float(inside.sum())])
    assert len(found[0]) == pytest.approx(len(found[1]), rel=0.1)
    assert np.mean(found[0], axis=0) == pytest.approx(np.mean(found[1], axis=0), rel=0.05)


def test_colors_change_as_torchvision_changes_them_but_for_the_hues_rounding() -> None:
    theirs = v2.RandomPhotometricDistort(p=0.5)
    image = functional.gaussian_blur(
        torch.randint(0, 256, (3, 40, 40), generator=torch.Generator().manual_seed(0)).byte(), [7, 7]
    )
    for seed in range(20):
        with seeded(seed):
            drawn = {**theirs.make_params([image]), "channel_permutation": None}
        expected = theirs.transform(image, drawn)
        ours = augment_boxes._distorted(image, drawn)
        assert (ours.float() - expected.float()).abs().mean() < 3, seed


def test_a_grey_image_stays_one() -> None:
    image, boxes, labels = _squares()
    grey, _, _ = BoxAugment(BoxAugmentation(64, 64, photometric=1.0))(image[:1], boxes, labels, 0)
    assert grey.shape == (1, 64, 64)


def test_a_stored_image_has_the_pixels_of_its_smallest_crop() -> None:
    assert BoxAugmentation(320, 320).shorter_side == 560
    assert BoxAugmentation(320, 480, crop=0).shorter_side == 480
    assert BoxAugmentation(320, 320, crop_scale_min=0.8).shorter_side == 400

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mobilenets.data.boxes import Box
from mobilenets.data.samples import Sample
from mobilenets.feeding.augment_boxes import BoxAugmentation
from mobilenets.feeding.boxes import Boxed, objects
from mobilenets.feeding.loader import Batch, Plan, TrainingImages, batches

STILL = BoxAugmentation(24, 32, crop=0, flip_horizontal=0)
MOVING = BoxAugmentation(24, 32, zoom_out=0.5, photometric=0.5)


def _padded(boxes: Tensor, labels: Tensor, _ignored: Tensor) -> tuple[Tensor, ...]:
    """Up to four boxes, zeros behind them; how many there are."""
    full = torch.zeros(4, 4)
    full[: len(boxes)] = boxes
    return full, torch.tensor(len(labels))


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    found = []
    for i in range(6):
        path = tmp_path / f"{i}.png"
        values = np.random.default_rng(i).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
        found.append(Sample(path, -1, "train", name=path.name, boxes=tuple(Box(0, 8, 8, 24 + i, 40) for _ in range(i % 3))))
    return tuple(found)


def _batches(samples: tuple[Sample, ...], augmentation: BoxAugmentation, *, first: int = 0, workers: int = 0) -> list[Batch]:
    images = TrainingImages(samples, Boxed(augmentation, _padded, channels=3), seed=1)
    return list(batches(images, Plan(3), balance="none", seed=1, first=first, last=4, workers=workers))


def test_targets_are_made_of_boxes_in_px_of_the_input(samples: tuple[Sample, ...]) -> None:
    teacher = Boxed(STILL, _padded, channels=3)
    image, (boxes, count) = teacher.show(teacher.load(samples[5]), samples[5], seed=0)
    assert image.shape == (3, 24, 32)
    assert (boxes[:2].tolist(), int(count)) == ([[4, 4, 14.5, 20]] * 2, 2)


def test_a_large_image_is_kept_smaller_and_its_boxes_with_it(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    sample = Sample(tmp_path / "a.png", -1, "train", boxes=(Box(1, 0, 0, 320, 240), Box(0, 5, 5, 5, 9)))
    pixels, boxes, labels, _ = Boxed(STILL, _padded, channels=1).load(sample)
    assert pixels.shape == (32, 43, 1)
    assert boxes == pytest.approx(np.array([[0, 0, 21.5, 16]]))
    assert labels.tolist() == [1]


def test_boxes_of_an_image_that_exif_turns_are_those_of_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    sample = Sample(tmp_path / "a.jpg", -1, "train", boxes=(Box(0, 0, 0, 20, 40),))
    pixels, boxes, *_ = Boxed(BoxAugmentation(8, 8, crop=0), _padded, channels=3).load(sample)
    assert boxes.tolist() == [[0, 0, pixels.shape[1], pixels.shape[0]]]


def test_crowds_and_difficult_objects_are_ignored_and_boxes_without_area_left_out() -> None:
    boxes = (Box(0, 1, 1, 2, 2), Box(1, 1, 1, 2, 2, difficult=True), Box(2, 1, 1, 2, 2, crowd=True), Box(3, 2, 2, 1, 1))
    _, labels, ignored = objects(Sample(Path("a"), -1, "train", boxes=boxes))
    assert (labels.tolist(), ignored.tolist()) == ([0, 1, 2], [False, True, True])


def test_targets_hear_which_boxes_are_ignored(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    boxes = (Box(0, 8, 8, 24, 40, crowd=True), Box(1, 40, 8, 60, 40))
    sample = Sample(tmp_path / "a.png", -1, "train", boxes=boxes)
    teacher = Boxed(STILL, lambda *found: found, channels=3)
    _, (placed, labels, ignored) = teacher.show(teacher.load(sample), sample, seed=0)
    assert placed.tolist() == [[4, 4, 12, 20], [20, 4, 30, 20]]
    assert (labels.tolist(), ignored.tolist()) == ([0, 1], [True, False])


def test_batches_are_the_same_wherever_a_run_starts_and_whoever_reads(samples: tuple[Sample, ...]) -> None:
    whole = _batches(samples, MOVING)
    resumed = _batches(samples, MOVING, first=2, workers=2)
    for one, other in zip(whole[2:], resumed, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(map(torch.equal, one.targets, other.targets))
    assert [target.shape for target in whole[0].targets] == [(3, 4, 4), (3,)]


def test_kept_images_give_what_read_ones_give(samples: tuple[Sample, ...]) -> None:
    teacher = Boxed(MOVING, _padded, channels=3)
    kept, read = TrainingImages(samples, teacher, seed=1), TrainingImages(samples, teacher, seed=1)
    assert kept.keep(1, threads=2) == 6
    for sample in samples:
        sample.path.unlink() if sample is samples[0] else None
    for index in range(1, 6):
        for one, other in zip(kept[(0, index, index)][1], read[(0, index, index)][1], strict=True):
            assert torch.equal(one, other)


def test_a_broken_image_is_named_and_another_stands_in(samples: tuple[Sample, ...]) -> None:
    samples[2].path.write_bytes(b"no image")
    image, targets, weight, broken = TrainingImages(samples, Boxed(STILL, _padded, channels=3), seed=1)[(0, 0, 2)]
    assert [name for name, _ in broken] == ["2.png"]
    assert (image.shape, int(targets[1]), weight) == ((3, 24, 32), 0, 1.0)


def test_where_no_image_can_be_read_a_blank_one_weighs_nothing(samples: tuple[Sample, ...]) -> None:
    for sample in samples:
        sample.path.write_bytes(b"")
    image, (_, count), weight, _ = TrainingImages(samples, Boxed(STILL, _padded, channels=3), seed=1)[(0, 0, 2)]
    assert (weight, int(count), int(image.min()), int(image.max())) == (0.0, 0, 128, 128)

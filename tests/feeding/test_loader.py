from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilenets.data.samples import Sample
from mobilenets.feeding.augment import Augmentation
from mobilenets.feeding.loader import (
    Batch,
    Draws,
    Labelled,
    Plan,
    TrainingImages,
    batches,
    class_weights,
    decoded,
    log_priors,
    order,
    workers_for,
)

AUGMENTATION = Augmentation(size=16, policy="trivial")


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    """Twenty images, every fifth of class 1."""
    random = np.random.default_rng(0)
    found = []
    for i in range(20):
        path = tmp_path / f"{i:02d}.png"
        Image.fromarray(random.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(path)
        found.append(Sample(path, int(i % 5 == 0), "train", name=path.name))
    return tuple(found)


def _batches(samples: tuple[Sample, ...], plan: Plan, *, first: int = 0, last: int = 6, workers: int = 0) -> list[Batch]:
    images = TrainingImages(samples, Labelled(AUGMENTATION, channels=3), seed=5)
    return list(batches(images, plan, balance="none", seed=5, first=first, last=last, workers=workers))


def _same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and all(map(torch.equal, one.targets, other.targets))


def test_a_batch_is_the_same_wherever_a_run_starts_and_whoever_reads(samples: tuple[Sample, ...]) -> None:
    whole = _batches(samples, Plan(8))
    resumed = _batches(samples, Plan(8), first=3, workers=2)
    assert len(whole) == 6
    assert all(_same(a, b) for a, b in zip(whole[3:], resumed, strict=True))
    assert not _same(whole[0], whole[2])


def test_processes_and_parts_together_have_the_whole_batch(samples: tuple[Sample, ...]) -> None:
    whole = _batches(samples, Plan(8), last=2)
    parts = [_batches(samples, Plan(8, accumulate=2, processes=2, process=process), last=2) for process in (0, 1)]
    for step in range(2):
        joined = torch.cat([parts[process][2 * step + i].images for i in (0, 1) for process in (0, 1)])
        assert torch.equal(joined, whole[step].images)


def test_an_epoch_has_each_image_once(samples: tuple[Sample, ...]) -> None:
    draws = Draws(samples, Plan(10), balance="none", seed=0, first=0, last=4)
    indices = [[index for _, _, index in part] for part in draws]
    assert sorted(indices[0] + indices[1]) == sorted(indices[2] + indices[3]) == list(range(20))
    assert indices[0] != indices[2]
    assert len(draws) == 4


def test_a_batch_larger_than_the_data_goes_round(samples: tuple[Sample, ...]) -> None:
    plan = Plan(50)
    assert plan.steps_per_epoch(20) == 1
    (draws,) = Draws(samples, plan, balance="none", seed=0, first=0, last=1)
    counts = np.bincount([index for _, _, index in draws])
    assert len(draws) == 50
    assert set(counts) == {2, 3}


def test_balanced_draws_have_as_many_of_each_class(samples: tuple[Sample, ...]) -> None:
    labels = [samples[i].label for epoch in range(100) for i in order(samples, "sample", 0, epoch)]
    assert np.mean(labels) == pytest.approx(0.5, abs=0.04)  # 0.2 of the images; standard deviation 0.011


def test_a_sample_of_weight_zero_is_not_drawn_in_balance(samples: tuple[Sample, ...]) -> None:
    weighted = (replace(samples[0], weight=0.0), *samples[1:])
    assert 0 not in {i for epoch in range(50) for i in order(weighted, "sample", 0, epoch)}


def test_kept_images_are_those_that_reading_gives(samples: tuple[Sample, ...]) -> None:
    kept, read = (TrainingImages(samples, Labelled(AUGMENTATION, channels=3), seed=1) for _ in range(2))
    assert kept.keep(10, threads=2) == 20
    for place in range(20):
        assert torch.equal(kept[0, place, place][0], read[0, place, place][0])


def test_only_so_many_images_are_kept_as_fit(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((600, 600, 3), np.uint8)).save(path)
    large = (Sample(path, 0, "train", name="large.png"),) * 3
    images = TrainingImages(large, Labelled(Augmentation(size=600, crop_scale_min=1), channels=3), seed=0)
    assert images.keep(2, threads=1) == 1  # each takes 1.03 MiB


def test_another_image_stands_in_for_a_broken_one(samples: tuple[Sample, ...]) -> None:
    samples[4].path.write_bytes(b"no image")
    images = TrainingImages(samples, Labelled(AUGMENTATION, channels=3), seed=1)
    image, (label,), weight, broken = images[0, 7, 4]
    assert [name for name, _ in broken] == ["04.png"]
    assert (int(label), weight) == (samples[5].label, 1.0)
    assert torch.equal(image, images[0, 7, 5][0])


def test_without_any_readable_image_the_item_weighs_nothing(samples: tuple[Sample, ...]) -> None:
    for sample in samples:
        sample.path.unlink()
    image, _, weight, broken = TrainingImages(samples, Labelled(AUGMENTATION, channels=3), seed=1)[0, 0, 0]
    assert image.shape == (3, 16, 16)
    assert (weight, len(broken)) == (0.0, 20)


@pytest.mark.parametrize(("size", "expected"), [((400, 200), (50, 100, 3)), ((30, 20), (20, 30, 3))])
def test_decoding_shrinks_to_the_shorter_side_and_never_enlarges(
    size: tuple[int, int], expected: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", size).save(path)
    assert decoded(path.read_bytes(), 3, 50).shape == expected


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (20, 20), 77).save(path)
    images = TrainingImages((Sample(path, 0, "train"),), Labelled(AUGMENTATION, channels=1), seed=0)
    assert images[0, 0, 0][0].shape == (1, 16, 16)


def test_class_weights_average_one_over_the_samples(samples: tuple[Sample, ...]) -> None:
    torch.testing.assert_close(class_weights(samples, 3), torch.tensor([20 / (2 * 16), 20 / (2 * 4), 0.0]))


def test_log_priors_are_log_shares_with_one_image_added(samples: tuple[Sample, ...]) -> None:
    torch.testing.assert_close(log_priors(samples, 3).exp(), torch.tensor([17 / 23, 5 / 23, 1 / 23]))


def test_the_number_of_workers_is_the_one_asked_for() -> None:
    assert workers_for(3, batch_bytes=1, processes=1) == 3
    assert workers_for(-1, batch_bytes=2**60, processes=1) == 0  # no machine has so much shared memory


LEFT_OPEN = """
import pickle, sys
from mobilenets.feeding.loader import Labelled, Plan, TrainingImages, batches

samples, augmentation = pickle.loads(open(sys.argv[1], "rb").read())
images = TrainingImages(samples, Labelled(augmentation, channels=3), seed=5)
reading = batches(images, Plan(8), balance="none", seed=5, first=0, last=60, workers=2)
next(reading)
print("the end")
"""

BUSY_AT_THE_END = """
import atexit, time

def busy():
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        sum(range(1000))

atexit.register(busy)  # before the loader's own, so that it runs after that
"""


def test_workers_that_are_ended_disturb_nothing_that_runs_at_the_end(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(pickle.dumps((samples, AUGMENTATION)))
    command = [sys.executable, "-c", BUSY_AT_THE_END + LEFT_OPEN, str(tmp_path / "given")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the end\n", "")


def test_a_program_ends_though_workers_still_read(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(pickle.dumps((samples, AUGMENTATION)))
    command = [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "given")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "the end\n"), ended.stderr

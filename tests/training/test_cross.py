"""Cross-validation of small datasets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.errors import UsageError
from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.pooled import at_temperature, pooled
from mobilenets.specs.model import ClassifierHead, Task
from mobilenets.training.cross import fitted, held_out, parted, whole, why_small


def _dataset(counts: tuple[int, ...], group: int = 1) -> Dataset:
    labels = [k for k, count in enumerate(counts) for _ in range(count)]
    samples = tuple(
        Sample(Path(f"{i}.png"), label, "val", name=f"{i}.png", group=f"{label}-{i // group}" if group > 1 else "")
        for i, label in enumerate(labels)
    )
    return Dataset(tuple(f"class {k}" for k in range(len(counts))), samples)


def test_every_image_is_in_one_fold_and_folds_have_equal_shares_of_a_class() -> None:
    dataset = _dataset((10, 15))
    folds = list(parted(dataset, 5, seed=0))
    assert len(folds) == 5
    seen = [sample.name for fold in folds for sample in held_out(fold)]
    assert sorted(seen) == sorted(sample.name for sample in dataset.samples)
    for fold in folds:
        assert Counter(sample.label for sample in held_out(fold)) == {0: 2, 1: 3}
        assert len(fold.split("train")) == 20


def test_images_of_a_group_are_in_one_fold() -> None:
    for fold in parted(_dataset((12, 12), group=3), 4, seed=1):
        groups = [{sample.group for sample in fold.split(split)} for split in ("train", "test")]
        assert not groups[0] & groups[1]


def test_the_final_model_is_trained_on_all_images() -> None:
    assert len(whole(_dataset((4, 4))).split("train")) == 8


def test_a_class_of_under_30_images_makes_a_dataset_small() -> None:
    assert why_small(_split(_dataset((29, 571)))) == "class 'class 0' has 29 images"
    assert why_small(_split(_dataset((30, 570)))) == ""


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_under_100_images_in_val_or_test_make_a_dataset_small(task: Task) -> None:
    assert why_small(_split(replace(_dataset((300, 300)), task=task))) == ""
    assert why_small(_split(replace(_dataset((300, 297)), task=task))) == "val has 99 images"


def _split(dataset: Dataset) -> Dataset:
    """Every sixth image in val, every third in test."""
    splits: tuple[Split, ...] = ("train", "train", "test", "val", "train", "test")
    return replace(dataset, samples=tuple(replace(sample, split=splits[i % 6]) for i, sample in enumerate(dataset.samples)))


def test_more_folds_than_images_are_refused() -> None:
    with pytest.raises(UsageError, match="9 folds cannot be made of 8 images"):
        list(parted(_dataset((4, 4)), 9, seed=0))


def _report(names: tuple[str, ...], truth: list[int], logits: list[list[float]]) -> Report:
    values = np.array(logits, np.float32)
    scores = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    return Report("tiny", ("a", "b"), names, np.array(truth, np.int64), values, scores, 1.0)


def test_reports_of_the_folds_are_one_report_on_all_images() -> None:
    one = _report(("1", "2"), [0, 1], [[2.0, 0.0], [1.0, 0.0]])
    other = _report(("3", "4"), [1, 1], [[0.0, 3.0], [0.0, 1.0]])
    report = pooled([one, other], "classify")
    assert isinstance(report, Report)
    assert report.names == ("1", "2", "3", "4")
    assert report.metric("top1").value == 0.75
    head, metrics = fitted(ClassifierHead(), report, "classify")
    assert metrics["val_accuracy"] == 0.75
    assert isinstance(head, ClassifierHead)
    softer = at_temperature(report, 2.0)
    assert softer.scores[0, 0] == pytest.approx(np.exp(1.0) / (np.exp(1.0) + 1))
    assert softer.metric("top1").value == 0.75

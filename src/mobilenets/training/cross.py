"""Cross-validation for small datasets: every image is predicted by a model that was trained without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mobilenets.data.samples import SPLITS, Dataset, Sample
from mobilenets.data.splits import digest
from mobilenets.data.text import counted
from mobilenets.errors import UsageError
from mobilenets.evaluation.evaluators import AnyReport
from mobilenets.specs.model import Head, Task
from mobilenets.training import classify, detect, segment
from mobilenets.training.lesson import Outcome

FOLDS = 5
CLASS, SPLIT = 30, 100
"""With fewer images than this in a class, or in the val or test split, the dataset's splits are too small to judge a model."""


def why_small(dataset: Dataset) -> str:
    """Why a dataset's splits are too small to judge a model; "" if they are not.

    >>> from pathlib import Path
    >>> few = tuple(Sample(Path(f"{i}.png"), i % 2, "train") for i in range(58))
    >>> why_small(Dataset(("a", "b"), few))
    "class 'a' has 29 images"
    """
    if dataset.task == "classify":
        counts = Counter(sample.label for sample in dataset.samples)
        rarest = min(range(len(dataset.labels)), key=counts.__getitem__)
        if counts[rarest] < CLASS:
            return f"class '{dataset.labels[rarest]}' has {counted(counts[rarest], 'image')}"
    sizes = {split: len(dataset.split(split)) for split in SPLITS[1:]}
    smallest = min(sizes, key=sizes.__getitem__)
    return f"{smallest} has {counted(sizes[smallest], 'image')}" if sizes[smallest] < SPLIT else ""


def whole(dataset: Dataset) -> Dataset:
    """The dataset with every image in train, for training the final model."""
    return replace(dataset, samples=tuple(replace(sample, split="train") for sample in dataset.samples))


def parted(dataset: Dataset, folds: int, *, seed: int) -> Iterator[Dataset]:
    """The dataset once per fold, with the fold as its test split and all other images in train.

    Folds have equal shares of each class, and images of one group stay in one fold.

    Args:
        dataset: the dataset; its own splits are ignored.
        folds: number of folds, at least 2.
        seed: another seed draws other folds.

    Raises:
        UsageError: there are fewer images than folds.
    """
    if not 2 <= folds <= len(dataset.samples):
        raise UsageError(f"{folds} folds cannot be made of {len(dataset.samples)} images; at least 2 are needed")
    names = [sample.group or sample.name or str(sample.path) for sample in dataset.samples]
    labels = {name: sample.label for name, sample in zip(names, dataset.samples, strict=True)}
    dealt = sorted(labels, key=lambda name: (labels[name], digest(name, seed)))  # like cards, class by class
    fold_of = {name: i % folds for i, name in enumerate(dealt)}
    for fold in range(folds):
        samples = tuple(
            replace(sample, split="test" if fold_of[name] == fold else "train")
            for name, sample in zip(names, dataset.samples, strict=True)
        )
        if any(sample.split == "test" for sample in samples):
            yield replace(dataset, samples=samples)


def fitted(head: Head, report: AnyReport, task: Task) -> tuple[Head, dict[str, float]]:
    """A head fitted to the held-out images of all folds, and their metrics as validation metrics.

    Args:
        head: the final model's head.
        report: the report pooled from all folds.
        task: the task of both.
    """
    outcome = _OUTCOMES[task](report)
    return outcome.fitted(head), outcome.metrics()


def held_out(dataset: Dataset) -> Sequence[Sample]:
    """The images of a fold, which are its test split."""
    return dataset.split("test")


_OUTCOMES: dict[Task, Callable[[Any], Outcome]] = {  # Any: the report of the task
    "classify": lambda report: classify.Answers(report.logits, report.truth),
    "detect": lambda report: detect.Answers(report.judged, len(report.labels), numbers=True),
    "segment": lambda report: segment.Answers(report.confusion, len(report), numbers=True),
}

"""Evaluation of a quantized network by a metric on labeled images or, without labels, by how many predictions stay the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import DataError
from mobilenets.evaluation.compare import FIGURES, Measured, compare
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.evaluation.intervals import draws, percentiles, wilson
from mobilenets.int8.answers import NOUNS, answers
from mobilenets.int8.images import Picture
from mobilenets.reports.stored import measured_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import Task
from mobilenets.telling import Bar, no_bar

METRICS: Mapping[Task, str] = {"classify": "top1", "detect": "map50", "segment": "miou"}
"""The metric for labeled images."""

POINTS, CHANGED = 0.5, 3.0
"""Default limits: the largest drop of the metric, in percentage points, and without labels, the largest share of predictions
that may change, in percent."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The drop of a metric through quantization.

    Args:
        metric: "top1", "map50", "miou", or "same_answers" if there are no labels.
        title: the name of the metric for users.
        real, int8: its values for both networks, 0 to 1.
        low, high: 95% confidence interval of the difference, paired by image, in percentage points; NaN if unknown.
        images: number of images.
    """

    metric: str
    title: str
    real: float
    int8: float
    low: float
    high: float
    images: int

    @property
    def points(self) -> float:
        """The drop in percentage points; negative if the quantized network is better."""
        return round(100 * (self.real - self.int8), 10) + 0.0  # no negative zero


class Truth(Protocol):
    """Evaluates a quantized network; it also has the names of the true classes, if known."""

    labels: Sequence[str]

    @property
    def pictures(self) -> Sequence[Picture]:
        """The images for the evaluation."""
        ...

    def drop(self, real: Predictor, int8: Predictor) -> Drop:
        """The drop from the float to the quantized network. The float network must be the same in every call.

        Raises:
            DataError: the drop cannot be measured on these images.
        """
        ...


def judging(dataset: Dataset) -> tuple[Sample, ...]:
    """The images of a dataset for the evaluation: its validation split, else its test split, else all."""
    return dataset.split("val") or dataset.split("test") or dataset.samples


@dataclass
class Labels:
    """Evaluates on labeled images. The float network is measured only once.

    Args:
        samples: images with labels, boxes or masks.
        labels: names of their classes.
        bar: shows progress.
    """

    samples: Sequence[Sample]
    labels: Sequence[str]
    bar: Bar = no_bar
    _real: Measured | None = field(default=None, init=False)

    @property
    def pictures(self) -> Sequence[Picture]:
        """The images for the evaluation."""
        return self.samples

    def drop(self, real: Predictor, int8: Predictor) -> Drop:
        """The drop of the task's metric.

        Raises:
            DataError: fewer than two images can be read, a class is unknown to the network, or the metric has no value.
        """
        task = real.manifest.task
        metric = METRICS[task]
        if self._real is None:
            self._real = self._measured(real, "measuring float")
        both = [self._real, self._measured(int8, "measuring int8")]
        if len(both[0].names) < 2:
            raise DataError("only 1 labeled image can be read; at least 2 are needed to measure a drop", hint="--data DATA")
        first, second = compare(both, metric).rows
        if math.isnan(first.value) or math.isnan(second.value):
            raise DataError(f"{FIGURES[task][metric].title} cannot be measured: the images show nothing to find")
        low, high = (
            (math.nan, math.nan) if second.paired is None else (0.0 - 100 * second.paired.high, 0.0 - 100 * second.paired.low)
        )
        return Drop(metric, FIGURES[task][metric].title, first.value, second.value, low, high, len(both[0].names))

    def _measured(self, predictor: Predictor, description: str) -> Measured:
        with self.bar(description, len(self.samples)) as advance:
            return measured_of(evaluate(predictor, self.samples, self.labels, progress=advance), description)


@dataclass
class SameAnswers:
    """Evaluates by the share of predictions that stay the same, for images without labels.

    Args:
        pictures: the images for the evaluation.
        bar: shows progress.
    """

    pictures: Sequence[Picture]
    bar: Bar = no_bar
    labels: Sequence[str] = field(default=(), init=False)

    def drop(self, real: Predictor, int8: Predictor) -> Drop:
        """The share of predictions that change.

        Raises:
            DataError: no image can be read.
        """
        with self.bar("comparing answers", len(self.pictures)) as advance:
            same = np.array([answer.same for answer in answers(real, int8, self.pictures, advance=advance)])
        if not len(same):
            raise DataError(f"none of the {len(self.pictures)} images to compare answers on can be read")
        task = real.manifest.task
        if task == "classify":
            interval = wilson(round(float(same.sum())), len(same))
        else:
            interval = percentiles(draws(lambda counts: float(counts @ same) / int(counts.sum()), len(same)))
        title = f"same {NOUNS[task]}"
        points = 100 * (1 - interval.high), 100 * (1 - interval.low)
        return Drop("same_answers", title, 1.0, float(same.mean()), *points, len(same))

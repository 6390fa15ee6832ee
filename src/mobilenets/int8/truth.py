"""What a quantized network is judged by: a metric on labeled images, or, without labels, whether answers stay the same."""

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
"""What is measured on labeled images."""

POINTS, CHANGED = 0.5, 3.0
"""Unless the user says otherwise: percentage points of the metric that may be lost, and answers of 100 that may change where
there are no labels."""


@dataclass(frozen=True, slots=True)
class Drop:
    """What a quantized network loses.

    Args:
        metric: "top1", "map50", "miou", or "same_answers" where there are no labels.
        title: what people call it.
        real, int8: its values of both networks, 0 to 1.
        low, high: 95% interval of the difference between them, paired image by image, percentage points; NaN if unknown.
        images: how many were measured.
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
        """How much less the quantized network reaches, percentage points; negative if it reaches more."""
        return round(100 * (self.real - self.int8), 10) + 0.0  # no negative zero


class Truth(Protocol):
    """Judges a quantized network. It has the names of the true classes, if those are known."""

    labels: Sequence[str]

    @property
    def pictures(self) -> Sequence[Picture]:
        """The images that it is judged on."""
        ...

    def drop(self, real: Predictor, int8: Predictor) -> Drop:
        """What is lost. The float network must be the same in every call.

        Raises:
            DataError: it cannot be measured on these images.
        """
        ...


def judging(dataset: Dataset) -> tuple[Sample, ...]:
    """The images of a dataset that judge: its validation split, or its test split; all where there are no splits."""
    return dataset.split("val") or dataset.split("test") or dataset.samples


@dataclass
class Labels:
    """Judges by labeled images. What the float network reaches is measured once.

    Args:
        samples: with labels, boxes or masks.
        labels: names of their classes.
        bar: how progress is shown.
    """

    samples: Sequence[Sample]
    labels: Sequence[str]
    bar: Bar = no_bar
    _real: Measured | None = field(default=None, init=False)

    @property
    def pictures(self) -> Sequence[Picture]:
        """The images."""
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
    """Judges by what share of its answers a network keeps, where nobody knows which are right.

    Args:
        pictures: the images.
        bar: how progress is shown.
    """

    pictures: Sequence[Picture]
    bar: Bar = no_bar
    labels: Sequence[str] = field(default=(), init=False)

    def drop(self, real: Predictor, int8: Predictor) -> Drop:
        """The share of answers that change.

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

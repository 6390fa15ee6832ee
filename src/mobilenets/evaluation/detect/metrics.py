"""Metrics of a detector: precision-recall curves and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.detect.truth import IGNORED, IOU, Truth, judge, match
from mobilenets.runtime.detect.decode import Detections

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the curve."""

MOST = 100
"""Detections of a class on an image that COCO counts, the best ones."""

UNKNOWN_THRESHOLD = 0.5
"""Of a class of which nothing was found: no score is better than another."""

Judged = tuple[Detections, Truth]
"""What was found on an image, and what is there."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The detections of one class on all images, by falling score, without those that count neither way.

    Args:
        scores: N.
        hits: which found an object, N.
        images: index of the image of each, N.
        objects: how many there are to find on each image.
    """

    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    images: NDArray[np.int64]
    objects: NDArray[np.int64]

    @property
    def support(self) -> int:
        """Objects there are to find."""
        return int(self.objects.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall of a class as the score threshold falls, one point per distinct score.

    Args:
        scores: the lowest score that still counts.
        precision: share of the detections from that score on that are right.
        recall: share of the objects that they find.
    """

    scores: NDArray[np.float32]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of the two."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros(len(total)), where=total > 0)


def ranked(
    judged: Sequence[Judged],
    classes: int,
    *,
    iou: float = IOU,
    pairing: Callable[[Detections, Truth, float], NDArray[np.int64]] = match,
) -> tuple[Ranked, ...]:
    """The detections of each class, paired with the truth image by image.

    Args:
        judged: every image.
        classes: how many the model knows.
        iou: a detection finds an object that it overlaps by at least this.
        pairing: COCO's or Pascal VOC's.
    """
    scores, kinds, found, images = [], [], [], []
    objects = np.zeros((classes, len(judged)), np.int64)
    for i, (detections, truth) in enumerate(judged):
        best = detections.take(_best(detections.classes, MOST))
        scores.append(best.scores)
        kinds.append(best.classes)
        found.append(pairing(best, truth, iou))
        images.append(np.full(len(best), i))
        objects[:, i] = np.bincount(truth.classes[~truth.ignored], minlength=classes)
    every = [np.concatenate(parts) if parts else np.zeros(0) for parts in (scores, kinds, found, images)]
    order = np.argsort(-every[0], kind="stable")
    order = order[every[2][order] != IGNORED]
    return tuple(_ranked(order[every[1][order] == k], every, objects[k]) for k in range(classes))


def curve(one: Ranked) -> Curve:
    """The precision-recall curve of a class."""
    ends = np.append(np.flatnonzero(np.diff(one.scores)), len(one.scores) - 1) if len(one.scores) else np.zeros(0, np.int64)
    hits = np.cumsum(one.hits)[ends]
    return Curve(one.scores[ends], hits / (ends + 1), hits / max(one.support, 1))


def average_precision(one: Ranked, counts: NDArray[np.int64] | None = None) -> float:
    """COCO's average precision: mean over 101 recalls of the best precision from there on; NaN without objects.

    Args:
        counts: how often each image counts.
    """
    weights = np.ones(len(one.scores)) if counts is None else counts[one.images].astype(np.float64)
    support = one.support if counts is None else int(counts @ one.objects)
    if not support:
        return float("nan")
    hits, total = np.cumsum(weights * one.hits), np.cumsum(weights)
    precision = _envelope(hits / np.maximum(total, 1e-9))
    places = np.searchsorted(hits / support, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def mean_average_precision(every: Sequence[Ranked], counts: NDArray[np.int64] | None = None) -> float:
    """Mean of the classes that have objects; NaN where none has."""
    values = [value for value in (average_precision(one, counts) for one in every) if value == value]
    return sum(values) / len(values) if values else float("nan")


def voc_average_precision(one: Ranked) -> float:
    """The area under the curve of the best precision from each recall on (Pascal VOC 2010); NaN without objects."""
    if not one.support:
        return float("nan")
    hits = np.cumsum(one.hits)
    precision = _envelope(hits / np.arange(1, len(hits) + 1))
    return float((np.diff(hits / one.support, prepend=0.0) * precision).sum())


def voc_11_points(one: Ranked) -> float:
    """Mean of the best precision from recall 0, 0.1, ... 1 on (Pascal VOC 2007); NaN without objects."""
    if not one.support:
        return float("nan")
    hits = np.cumsum(one.hits)
    precision = np.append(_envelope(hits / np.arange(1, len(hits) + 1)), 0.0)
    tenths = np.arange(11) * one.support  # recall hits / support >= tenth / 10, in whole numbers
    return float(precision[np.searchsorted(hits * 10, tenths, side="left")].mean())


def best_threshold(one: Ranked) -> float:
    """The score threshold with the highest F1: half way from the last score that counts to the next one below it.

    A decoder keeps what is above the threshold. `UNKNOWN_THRESHOLD` where nothing was found.
    """
    points = curve(one)
    if not one.hits.any() or not one.support:
        return UNKNOWN_THRESHOLD
    best = int(points.f1.argmax())
    below = float(points.scores[best + 1]) if best + 1 < len(points.scores) else 0.0
    return (float(points.scores[best]) + below) / 2


def confusion(judged: Sequence[Judged], classes: int, thresholds: Sequence[float], iou: float = IOU) -> NDArray[np.int64]:
    """Counts `[true class, found as]`; the last row is background that was taken for an object, the last column misses.

    Args:
        thresholds: of each class; detections above it count.
    """
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for detections, truth in judged:
        shown = detections.above(thresholds)
        found, by = judge(shown, truth, iou)
        real = found != IGNORED
        true = np.append(truth.classes, classes)[found[real]]  # FALSE is the last place: background
        np.add.at(counts, (true, shown.classes[real]), 1)
        missed = truth.classes[by == -1]
        np.add.at(counts, (missed, np.full(len(missed), classes)), 1)
    return counts


def _ranked(chosen: NDArray[np.int64], every: Sequence[NDArray[np.float64]], objects: NDArray[np.int64]) -> Ranked:
    scores, _, found, images = every
    return Ranked(scores[chosen].astype(np.float32), found[chosen] >= 0, images[chosen].astype(np.int64), objects)


def _best(classes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Places of the first `most` of each class."""
    order = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < most])


def _envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision from each place on."""
    return np.maximum.accumulate(precision[::-1])[::-1]

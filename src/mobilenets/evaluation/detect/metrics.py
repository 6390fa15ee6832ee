"""Detection metrics: precision-recall curves and the figures computed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.detect.truth import IGNORED, IOU, Truth, judge, match
from mobilenets.runtime.detect.decode import Detections

RECALLS = np.linspace(0, 1, 101)
"""The recalls at which COCO samples the curve."""

MOST = 100
"""COCO counts only this many detections per class and image, those with the highest scores."""

Judged = tuple[Detections, Truth]
"""The detections in an image, and its ground truth."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The detections of one class in all images, by descending score, without ignored ones.

    Args:
        scores: the score of each detection, N.
        hits: whether each detection found an object, N.
        images: index of each detection's image, N.
        objects: number of objects to find in each image.
    """

    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    images: NDArray[np.int64]
    objects: NDArray[np.int64]

    @property
    def support(self) -> int:
        """Number of objects to find."""
        return int(self.objects.sum())

    def of_images(self, chosen: NDArray[np.int64]) -> Ranked:
        """The detections in the images with these indices."""
        among = np.zeros(len(self.objects), np.bool_)
        among[chosen] = True
        kept = among[self.images]
        return Ranked(self.scores[kept], self.hits[kept], self.images[kept], np.where(among, self.objects, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall of a class as the score threshold decreases, one point per distinct score.

    Args:
        scores: the lowest score that is kept at each point.
        precision: share of the kept detections that are right.
        recall: share of the objects that the kept detections find.
    """

    scores: NDArray[np.float32]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros(len(total)), where=total > 0)


def ranked(
    judged: Sequence[Judged],
    classes: int,
    *,
    iou: float = IOU,
    pairing: Callable[[Detections, Truth, float], NDArray[np.int64]] = match,
) -> tuple[Ranked, ...]:
    """The detections of each class, matched with the objects image by image.

    Args:
        judged: detections and ground truth of every image.
        classes: number of the model's classes.
        iou: a detection finds an object if their overlap is at least this.
        pairing: the matching rule, COCO's or Pascal VOC's.
    """
    best = [(detections.take(best_of_each(detections.classes)), truth) for detections, truth in judged]
    return ranked_from([(kept, truth, pairing(kept, truth, iou), truth.ignored) for kept, truth in best], classes)


def ranked_from(
    paired: Sequence[tuple[Detections, Truth, NDArray[np.int64], NDArray[np.bool_]]], classes: int
) -> tuple[Ranked, ...]:
    """The detections of each class, from images whose detections are already matched.

    Args:
        paired: for each image its detections, its objects, the match of each detection, and which objects are ignored.
        classes: number of the model's classes.
    """
    objects = np.zeros((classes, len(paired)), np.int64)
    for i, (_, truth, _, ignored) in enumerate(paired):
        objects[:, i] = np.bincount(truth.classes[~ignored], minlength=classes)
    scores = np.concatenate([detections.scores for detections, *_ in paired] or [np.zeros(0, np.float32)])
    kinds = np.concatenate([detections.classes for detections, *_ in paired] or [np.zeros(0, np.int64)])
    matches = np.concatenate([own for _, _, own, _ in paired] or [np.zeros(0, np.int64)])
    images = np.repeat(np.arange(len(paired)), [len(detections) for detections, *_ in paired])
    order = np.argsort(-scores, kind="stable")
    order = order[matches[order] != IGNORED]
    of_classes = (order[kinds[order] == k] for k in range(classes))
    return tuple(Ranked(scores[own], matches[own] >= 0, images[own], objects[k]) for k, own in enumerate(of_classes))


def best_of_each(classes: NDArray[np.int64], most: int = MOST) -> NDArray[np.int64]:
    """Indices of the first `most` detections of each class; detections must be ordered by descending score."""
    order = np.argsort(classes, kind="stable")
    counts = np.bincount(classes)
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < most])


def curve(ranked: Ranked) -> Curve:
    """The precision-recall curve of a class."""
    count = len(ranked.scores)
    ends = np.append(np.flatnonzero(np.diff(ranked.scores)), count - 1) if count else np.zeros(0, np.int64)
    hits = np.cumsum(ranked.hits)[ends]
    return Curve(ranked.scores[ends], hits / (ends + 1), hits / max(ranked.support, 1))


def average_precision(ranked: Ranked, counts: NDArray[np.int64] | None = None) -> float:
    """COCO's average precision: the mean over 101 recalls of the best precision at that recall or higher; NaN without objects.

    Args:
        counts: how often each image counts; once by default.
    """
    weights = np.ones(len(ranked.scores)) if counts is None else counts[ranked.images].astype(np.float64)
    support = ranked.support if counts is None else int(counts @ ranked.objects)
    if not support:
        return float("nan")
    hits, total = np.cumsum(weights * ranked.hits), np.cumsum(weights)
    precision = _envelope(hits / np.maximum(total, 1e-9))
    places = np.searchsorted(hits / support, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def mean_average_precision(ranked: Sequence[Ranked], counts: NDArray[np.int64] | None = None) -> float:
    """Mean average precision of the classes that have objects; NaN if none has."""
    values = [value for value in (average_precision(of_class, counts) for of_class in ranked) if value == value]
    return sum(values) / len(values) if values else float("nan")


def average_precisions(ranked: Ranked, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """`average_precision` for many draws of images at once, R; NaN for a draw without objects.

    Args:
        counts: how often each image counts in each draw, R x images.
    """
    support = counts @ ranked.objects  # R
    weights = counts[:, ranked.images].astype(np.float64)  # R N
    hits, total = np.cumsum(weights * ranked.hits, axis=1), np.cumsum(weights, axis=1)
    precision = np.maximum.accumulate((hits / np.maximum(total, 1e-9))[:, ::-1], axis=1)[:, ::-1]
    precision = np.concatenate([precision, np.zeros((len(counts), 1))], axis=1)  # R N+1
    recall = np.concatenate([hits / np.maximum(support, 1)[:, np.newaxis], np.full((len(counts), 1), 1.5)], axis=1)
    # Each row's recalls lie between 0 and 1.5; adding 2 per row makes one sorted list of all rows to search in.
    rows = 2.0 * np.arange(len(counts))[:, np.newaxis]
    places = np.searchsorted((recall + rows).ravel(), (RECALLS + rows).ravel(), side="left")
    values = precision.ravel()[places].reshape(len(counts), -1).mean(axis=1)
    return np.where(support > 0, values, np.nan)


def voc_average_precision(ranked: Ranked) -> float:
    """Area under the curve of the best precision at each recall or higher (Pascal VOC 2010); NaN without objects."""
    if not ranked.support:
        return float("nan")
    hits = np.cumsum(ranked.hits)
    precision = _envelope(hits / np.arange(1, len(hits) + 1))
    return float((np.diff(hits / ranked.support, prepend=0.0) * precision).sum())


def voc_11_points(ranked: Ranked) -> float:
    """Mean of the best precision at recall 0, 0.1, ... 1 or higher (Pascal VOC 2007); NaN without objects."""
    if not ranked.support:
        return float("nan")
    hits = np.cumsum(ranked.hits)
    precision = np.append(_envelope(hits / np.arange(1, len(hits) + 1)), 0.0)
    tenths = np.arange(11) * ranked.support  # compares recall hits / support >= tenth / 10 in integers
    return float(precision[np.searchsorted(hits * 10, tenths, side="left")].mean())


def confusion(judged: Sequence[Judged], classes: int, thresholds: Sequence[float], iou: float = IOU) -> NDArray[np.int64]:
    """Counts per `[true class, predicted class]`; the last row is false detections of background, the last column misses.

    Args:
        thresholds: the threshold of each class; only detections above it count.
    """
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for detections, truth in judged:
        shown = detections.above(thresholds)
        matches, by = judge(shown, truth, iou)
        real = matches != IGNORED
        true = np.append(truth.classes, classes)[matches[real]]  # FALSE, -1, selects the last entry: background
        np.add.at(counts, (true, shown.classes[real]), 1)
        missed = truth.classes[by == -1]
        np.add.at(counts, (missed, np.full(len(missed), classes)), 1)
    return counts


def _envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision from each position on."""
    return np.maximum.accumulate(precision[::-1])[::-1]

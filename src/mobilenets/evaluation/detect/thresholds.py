"""A detector's score thresholds, fitted on validation images and kept only if they help."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.detect.metrics import Judged, Ranked, curve, ranked
from mobilenets.evaluation.folds import folds

UNKNOWN_THRESHOLD = 0.5
"""The threshold if there is no evidence for another one."""


def best_threshold(ranked: Ranked) -> float:
    """The score threshold with the highest F1: halfway between the lowest score that is kept and the next one below it.

    A decoder keeps scores above the threshold. The result is `UNKNOWN_THRESHOLD` if no object was found.
    """
    points = curve(ranked)
    if not ranked.hits.any() or not ranked.support:
        return UNKNOWN_THRESHOLD
    best = int(points.f1.argmax())
    below = float(points.scores[best + 1]) if best + 1 < len(points.scores) else 0.0
    return (float(points.scores[best]) + below) / 2


def fit_thresholds(judged: Sequence[Judged], classes: int) -> tuple[float, ...]:
    """A score threshold for each class, as simple as the validation images justify.

    There are three candidates: 0.5, the best threshold for all classes together, and the best one for each class.
    Cross-validation compares their F1 on held-out images, and a candidate replaces a simpler one only if its F1 is higher.

    Args:
        judged: detections and ground truth of each validation image.
        classes: number of the model's classes.
    """
    per_class = ranked(judged, classes)
    plain, common, own = np.zeros((3, classes, 3), np.int64)  # hits, detections and objects of each class, on held-out images
    for fitted_on, held_out in folds(len(judged)):
        parts = [of_class.of_images(fitted_on) for of_class in per_class]
        threshold = best_threshold(_together(parts))
        for k, of_class in enumerate(per_class):
            rest = of_class.of_images(held_out)
            plain[k] += _counts(rest, UNKNOWN_THRESHOLD)
            common[k] += _counts(rest, threshold)
            own[k] += _counts(rest, best_threshold(parts[k]))
    helps = _f1(common.sum(axis=0)) > _f1(plain.sum(axis=0))
    base = best_threshold(_together(per_class)) if helps else UNKNOWN_THRESHOLD
    before = common if helps else plain
    return tuple(best_threshold(per_class[k]) if _f1(own[k]) > _f1(before[k]) else base for k in range(classes))


def _together(per_class: Sequence[Ranked]) -> Ranked:
    """The detections of all classes, as if they were one class."""
    scores = np.concatenate([of_class.scores for of_class in per_class])
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([of_class.hits for of_class in per_class])[order]
    images = np.concatenate([of_class.images for of_class in per_class])[order]
    objects: NDArray[np.int64] = np.sum([of_class.objects for of_class in per_class], axis=0)
    return Ranked(scores[order], hits, images, objects)


def _counts(ranked: Ranked, threshold: float) -> NDArray[np.int64]:
    """Numbers of hits, detections and objects at a threshold."""
    above = ranked.scores > np.float32(threshold)
    return np.array([ranked.hits[above].sum(), above.sum(), ranked.support], np.int64)


def _f1(counts: NDArray[np.int64]) -> float:
    hits, detections, objects = counts.tolist()
    return 2 * hits / (detections + objects) if detections + objects else 0.0

"""The true objects of an image, and which detection is which of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.boxes import Box
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.nms import areas, intersections, ious

IOU = 0.5
"""A detection finds an object if they overlap by at least this."""

FALSE, IGNORED = -1, -2
"""Used instead of an object's index: the detection matches no object, or matches an ignored object."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The objects of one image.

    Args:
        boxes: x0 y0 x1 y1, px, M x 4.
        classes: index of each object's class among the model's labels, M.
        difficult, crowd: as in `Box`, M.
        dropped: number of boxes without area, which are left out.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """Objects that count neither as found nor as missed, M."""
        return self.difficult | self.crowd


def truth_of(boxes: Sequence[Box], columns: Sequence[int]) -> Truth:
    """The ground truth from a sample's boxes.

    Args:
        columns: for each label of the data, its index among the model's.
    """
    real = [box for box in boxes if box.width > 0 and box.height > 0]
    return Truth(
        np.array([box.corners for box in real], np.float32).reshape(-1, 4),
        np.array([columns[box.label] for box in real], np.int64),
        np.array([box.difficult for box in real], np.bool_),
        np.array([box.crowd for box in real], np.bool_),
        len(boxes) - len(real),
    )


def match(detections: Detections, truth: Truth, iou: float = IOU) -> NDArray[np.int64]:
    """The object that each detection finds, by COCO's matching; see `match_at`.

    Returns:
        Indices into `truth`, or `FALSE` or `IGNORED`, K.
    """
    matched: NDArray[np.int64] = match_at(detections, truth, (iou,), truth.ignored[np.newaxis])[0, 0]
    return matched


def match_at(
    detections: Detections, truth: Truth, thresholds: Sequence[float], ignored: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The object that each detection finds, for several overlaps and several sets of ignored objects at once.

    By descending score, each detection takes the free object of its class with the highest overlap, if that reaches the
    threshold. If there is none, it takes an ignored object. A crowd can be taken repeatedly; its overlap is the share of the
    detection that lies inside it.

    Args:
        thresholds: T overlaps.
        ignored: A sets of ignored objects, A x M.

    Returns:
        Indices into `truth`, or `FALSE` or `IGNORED`, A x T x K.
    """
    overlaps = _overlaps(detections, truth)
    overlaps[detections.classes[:, np.newaxis] != truth.classes] = 0
    least = np.minimum(np.asarray(thresholds), 1 - 1e-10)
    matched = np.full((len(ignored), len(least), len(detections)), FALSE)  # A T K
    if not len(truth):
        return matched
    free = np.ones((len(ignored), len(least), len(truth)), np.bool_)  # A T M
    real = ~ignored[:, np.newaxis]  # A 1 M
    last = len(truth) - 1
    for i in np.flatnonzero((overlaps >= least.min()).any(axis=1)):
        near = free & (overlaps[i] >= least[:, np.newaxis])  # A T M
        own = np.where(near & real, overlaps[i] + 1, np.where(near, overlaps[i], 0))  # real objects come first
        best = last - own[..., ::-1].argmax(axis=-1)  # the last of ties, as in pycocotools: A T
        a, t = np.nonzero(near.any(axis=-1))
        taken = best[a, t]
        matched[a, t, i] = np.where(ignored[a, taken], IGNORED, taken)
        free[a, t, taken] = truth.crowd[taken]
    return matched


def match_voc(detections: Detections, truth: Truth, iou: float = IOU) -> NDArray[np.int64]:
    """The object that each detection finds, matched as in Pascal VOC's development kit.

    A detection refers to the object of its class with the highest overlap, even if that is already taken: the first detection
    finds the object, and each further one is false. If that object is ignored, all its detections are.
    """
    matched = np.full(len(detections), FALSE)
    if not len(truth) or not len(detections):
        return matched
    overlaps = _overlaps(detections, truth)
    overlaps[detections.classes[:, np.newaxis] != truth.classes] = 0
    meant = overlaps.argmax(axis=1)
    near = overlaps[np.arange(len(detections)), meant] >= iou
    matched[near & truth.ignored[meant]] = IGNORED
    real = np.flatnonzero(near & ~truth.ignored[meant])
    objects, first = np.unique(meant[real], return_index=True)
    matched[real[first]] = objects
    return matched


def judge(detections: Detections, truth: Truth, iou: float = IOU) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `match`, but then the remaining detections and objects are matched regardless of class, as confused classes.

    Returns:
        Indices into `truth`, or `FALSE` or `IGNORED`, K; and for each object the index of the detection that found or confused
        it, or `FALSE` if it was missed, or `IGNORED`, M.
    """
    matched = match(detections, truth, iou)
    by = np.full(len(truth), FALSE)
    by[truth.ignored] = IGNORED
    hits = np.flatnonzero(matched >= 0)
    by[matched[hits]] = hits
    if len(truth):
        overlaps = ious(detections.boxes, truth.boxes)
        for i in np.flatnonzero(matched == FALSE):
            own = np.where(by == FALSE, overlaps[i], 0)
            j = int(own.argmax())
            if own[j] >= iou:
                matched[i], by[j] = j, i
    return matched, by


def _overlaps(detections: Detections, truth: Truth) -> NDArray[np.float64]:
    """Overlap of each detection with each object, K x M; for a crowd, the share of the detection that lies in it."""
    boxes, own = detections.boxes.astype(np.float64), truth.boxes.astype(np.float64)
    shared = intersections(boxes[:, np.newaxis], own[np.newaxis])
    size = areas(boxes)[:, np.newaxis]
    whole = np.where(truth.crowd, size, size + areas(own) - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)

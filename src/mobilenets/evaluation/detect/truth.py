"""What is truly on an image, and which detection is which of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.nms import areas, intersections, ious

IOU = 0.5
"""From this overlap on a detection has found an object."""

FALSE, IGNORED = -1, -2
"""In place of the index of a truth: the detection found nothing; or something that counts neither way."""


class TrueBox(Protocol):
    """An object on an image; `mobilenets.data.boxes.Box` is one."""

    @property
    def label(self) -> int:
        """Index into the labels of the data."""
        ...

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1: px of the upright original image."""
        ...

    @property
    def difficult(self) -> bool:
        """Counts neither as found nor as missed (Pascal VOC)."""
        ...

    @property
    def crowd(self) -> bool:
        """Many objects in one box: as many detections as lie in it count neither way (COCO)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The objects on one image.

    Args:
        boxes: x0 y0 x1 y1, px, M x 4.
        classes: index into the model's labels of each, M.
        difficult, crowd: as in `TrueBox`, M.
        dropped: boxes without any area, which are no objects and are left out.
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
        """Which count neither as found nor as missed, M."""
        return self.difficult | self.crowd


def truth_of(boxes: Sequence[TrueBox], columns: Sequence[int]) -> Truth:
    """The objects among `boxes`.

    Args:
        columns: for each label of the data, its index among the model's.
    """
    real = [box for box in boxes if box.corners[2] > box.corners[0] and box.corners[3] > box.corners[1]]
    return Truth(
        np.array([box.corners for box in real], np.float32).reshape(-1, 4),
        np.array([columns[box.label] for box in real], np.int64),
        np.array([box.difficult for box in real], np.bool_),
        np.array([box.crowd for box in real], np.bool_),
        len(boxes) - len(real),
    )


def match(detections: Detections, truth: Truth, iou: float = IOU) -> NDArray[np.int64]:
    """The truth that each detection found, as COCO's evaluation pairs them.

    By falling score, a detection takes the free object of its class that it overlaps most, by at least `iou`; else an object
    that is ignored, of which a crowd is never used up and is overlapped by the share of the detection that lies in it.

    Returns:
        Indices into `truth`, or `FALSE` or `IGNORED`, K.
    """
    overlaps = _overlaps(detections, truth)
    overlaps[detections.classes[:, np.newaxis] != truth.classes] = 0
    found = np.full(len(detections), FALSE)
    free = np.ones(len(truth), np.bool_)
    least = min(iou, 1 - 1e-10)
    ignored = truth.ignored
    for i in np.flatnonzero((overlaps >= least).any(axis=1)):
        for kind in (~ignored, ignored):
            own = np.where(free & kind, overlaps[i], 0)
            j = len(own) - 1 - int(own[::-1].argmax())  # the last of equal ones, as pycocotools
            if own[j] >= least:
                found[i] = IGNORED if ignored[j] else j
                free[j] = bool(truth.crowd[j])
                break
    return found


def match_voc(detections: Detections, truth: Truth, iou: float = IOU) -> NDArray[np.int64]:
    """The truth that each detection found, as Pascal VOC's development kit pairs them.

    A detection means the object of its class that it overlaps most, free or not: the first one finds it, each further one
    is false. Objects that are ignored make all of theirs ignored.
    """
    found = np.full(len(detections), FALSE)
    if not len(truth) or not len(detections):
        return found
    overlaps = _overlaps(detections, truth)
    overlaps[detections.classes[:, np.newaxis] != truth.classes] = 0
    meant = overlaps.argmax(axis=1)
    near = overlaps[np.arange(len(detections)), meant] >= iou
    found[near & truth.ignored[meant]] = IGNORED
    real = np.flatnonzero(near & ~truth.ignored[meant])
    objects, first = np.unique(meant[real], return_index=True)
    found[real[first]] = objects
    return found


def judge(detections: Detections, truth: Truth, iou: float = IOU) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `match`, and what is left over on both sides paired without regard to class: taken for something else.

    Returns:
        Indices into `truth`, or `FALSE` or `IGNORED`, K; and of each truth the index of the detection that found it or took
        it for something else, or `FALSE` for a miss, or `IGNORED`, M.
    """
    found = match(detections, truth, iou)
    by = np.full(len(truth), FALSE)
    by[truth.ignored] = IGNORED
    hits = np.flatnonzero(found >= 0)
    by[found[hits]] = hits
    if len(truth):
        overlaps = ious(detections.boxes, truth.boxes)
        for i in np.flatnonzero(found == FALSE):
            own = np.where(by == FALSE, overlaps[i], 0)
            j = int(own.argmax())
            if own[j] >= iou:
                found[i], by[j] = j, i
    return found, by


def _overlaps(detections: Detections, truth: Truth) -> NDArray[np.float64]:
    """Of each detection with each truth, K x M; with a crowd, the share of the detection that lies in it."""
    boxes, own = detections.boxes.astype(np.float64), truth.boxes.astype(np.float64)
    shared = intersections(boxes[:, np.newaxis], own[np.newaxis])
    size = areas(boxes)[:, np.newaxis]
    whole = np.where(truth.crowd, size, size + areas(own) - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)

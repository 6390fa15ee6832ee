"""How well the predictions of two networks for an image agree, for each task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilenets.int8.images import Picture, name_of
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.nms import ious
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.model import Task

MATCH = 0.5
"""The least overlap (IoU) with which two boxes count as the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The predictions of both networks for one image.

    Args:
        picture: the image.
        real: the prediction of the float network.
        int8: the prediction of the quantized network.
        same: the share of the prediction that is the same, 0 to 1.
    """

    picture: Picture
    real: Prediction
    int8: Prediction
    same: float

    @property
    def name(self) -> str:
        """The name of the image."""
        return name_of(self.picture)


def answers(
    real: Predictor, int8: Predictor, pictures: Sequence[Picture], *, advance: Callable[[int], object] = lambda _: None
) -> Iterator[Answer]:
    """The predictions of two networks for each image that can be read."""
    results = zip(pictures, real.stream(pictures), int8.stream(pictures), strict=True)
    for picture, first, second in results:
        advance(1)
        if first.prediction is not None and second.prediction is not None:
            yield Answer(picture, first.prediction, second.prediction, same(first.prediction, second.prediction))


def same(first: Prediction, second: Prediction) -> float:
    """The share of two predictions for one image that is the same, 0 to 1.

    For classifiers it is 1 for the same label and otherwise 0; for detectors, the share of boxes that both predict, with the
    same label and an overlap of at least `MATCH`; for segmenters, the share of pixels with the same class.
    """
    return _SAME[type(first)](first, second)


def _same_label(first: Classification, second: Classification) -> float:
    return float(first.label == second.label)


def _same_boxes(first: Detections, second: Detections) -> float:
    total = len(first) + len(second)
    if not total:
        return 1.0
    if not len(first) or not len(second):
        return 0.0
    overlaps = ious(first.boxes, second.boxes)
    overlaps = np.where(first.classes[:, None] == second.classes[None], overlaps, 0)
    matched = 0
    for row in overlaps:  # boxes are sorted, the highest score first
        best = int(row.argmax())
        if row[best] >= MATCH:
            matched += 1
            overlaps[:, best] = 0
    return 2 * matched / total


def _same_pixels(first: Segmentation, second: Segmentation) -> float:
    return float((first.classes == second.classes).mean())


_SAME: dict[type, Callable[[Any, Any], float]] = {  # Any: predictions of that kind
    Classification: _same_label,
    Detections: _same_boxes,
    Segmentation: _same_pixels,
}

NOUNS: dict[Task, str] = {"classify": "answers", "detect": "boxes", "segment": "pixels"}
"""What an agreement counts, for each task."""

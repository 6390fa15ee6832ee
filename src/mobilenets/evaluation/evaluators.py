"""`evaluate`: how well a network of any task does, and the evaluation of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from mobilenets.evaluation.classify.evaluate import Report, evaluate_classification
from mobilenets.evaluation.detect.evaluate import DetectionReport, evaluate_detection
from mobilenets.evaluation.segment.evaluate import SegmentationReport, evaluate_segmentation
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.scales import MultiScale
from mobilenets.specs.model import Task

AnyReport = Report | DetectionReport | SegmentationReport


class Evaluate(Protocol):
    """`evaluate_classification` and its like."""

    def __call__(
        self,
        predictor: Any,  # Any: a `Predictor`, and for a segmenter a `MultiScale` too
        samples: Iterable[Any],  # Any: images with the task's answers
        labels: Sequence[str],
        *,
        progress: Callable[[int], None] | None,
        batch: int | None,
    ) -> AnyReport:
        """How well a network does on images with answers."""
        ...


EVALUATORS: dict[Task, Evaluate] = {
    "classify": evaluate_classification,
    "detect": evaluate_detection,
    "segment": evaluate_segmentation,
}


def evaluate(
    predictor: Predictor | MultiScale,
    samples: Iterable[Any],  # Any: images with the task's answers
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> AnyReport:
    """How well a network of any task does on images with answers: a report with `metrics`, one of them by `metric(name)`.

    Classifiers have accuracy and calibration ("top1", "ece"), detectors COCO's and Pascal VOC's metrics ("map", "map50"),
    segmenters IoU ("miou").

    Args:
        predictor: with any engine; its task says what is measured.
        samples: with labels, boxes or masks, as `open_dataset` gives them; classes are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model.
        progress: called with the number of images done since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    return EVALUATORS[predictor.manifest.task](predictor, samples, labels, progress=progress, batch=batch)

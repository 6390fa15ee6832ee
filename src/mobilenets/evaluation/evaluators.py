"""`evaluate`: measure a network of any task, with a table of the evaluation function of each task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from mobilenets.data.samples import Sample
from mobilenets.evaluation.classify.evaluate import Report, evaluate_classification
from mobilenets.evaluation.detect.evaluate import DetectionReport, evaluate_detection
from mobilenets.evaluation.segment.evaluate import SegmentationReport, evaluate_segmentation
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.scales import MultiScale
from mobilenets.specs.model import Task

AnyReport = Report | DetectionReport | SegmentationReport


class Evaluate(Protocol):
    """The signature of `evaluate_classification` and its counterparts."""

    def __call__(
        self,
        predictor: Any,  # Any: a `Predictor`, or for a segmenter a `MultiScale`
        samples: Iterable[Sample],
        labels: Sequence[str],
        *,
        progress: Callable[[int], None] | None,
        batch: int | None,
    ) -> AnyReport:
        """Measure a network on labeled images."""
        ...


EVALUATORS: dict[Task, Evaluate] = {
    "classify": evaluate_classification,
    "detect": evaluate_detection,
    "segment": evaluate_segmentation,
}


def evaluate(
    predictor: Predictor | MultiScale,
    samples: Iterable[Sample],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> AnyReport:
    """Measure a network of any task on labeled images. The report has `metrics`; `metric(name)` returns one of them.

    Classifiers are measured by accuracy and calibration ("top1", "ece"), detectors by the metrics of COCO and Pascal VOC
    ("map", "map50"), segmenters by IoU ("miou").

    Args:
        predictor: a predictor with any engine; its task decides what is measured.
        samples: samples with labels, boxes or masks, as `open_dataset` returns them; classes are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model.
        progress: called with the number of images processed since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    return EVALUATORS[predictor.manifest.task](predictor, samples, labels, progress=progress, batch=batch)

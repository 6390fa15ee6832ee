"""Decoders, by task: they turn a network's outputs into predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mobilenets.errors import UsageError
from mobilenets.runtime.classify import Classification, decode_classifications
from mobilenets.runtime.detect.decode import Detections, decode_detections
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment.decode import Segmentation, decode_segmentations
from mobilenets.specs.model import Head, Task
from mobilenets.specs.ssd import SsdHead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Prediction = Classification | Detections | Segmentation
"""A predictor's result for one image."""

THRESHOLD = 0.5
"""The score that a displayed box must exceed if the model has no thresholds of its own."""

Decoder = Callable[["Mapping[str, NDArray[np.float32]]", Manifest, Sequence[Placement]], Sequence[Prediction]]

DECODERS: dict[Task, Decoder] = {
    "classify": decode_classifications,
    "detect": decode_detections,
    "segment": decode_segmentations,
}


def decode(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement]
) -> Sequence[Prediction]:
    """One prediction per image of the batch.

    Args:
        outputs: an engine's outputs, by name.
        manifest: the network's manifest.
        placements: where the network's input lies on each image.

    Raises:
        CheckpointError: the outputs do not fit the manifest.
    """
    return DECODERS[manifest.task](outputs, manifest, placements)


def thresholded(head: Head, threshold: float) -> Head:
    """The detector's head with this display threshold for every class.

    Raises:
        UsageError: the head is of another task, or the threshold is not between 0 and 1.
    """
    if not isinstance(head, SsdHead):
        raise UsageError(f"a threshold is for detectors; this model's task is '{head.task}'")
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold} is not between 0 and 1")
    return replace(head, score_threshold=threshold, class_thresholds=())


def shown(head: Head, threshold: float | None = None) -> Head:
    """The head with the display thresholds: the one that is given, otherwise those fitted in training, otherwise 0.5.

    Only detectors have thresholds. If no threshold is given, heads of other tasks are returned unchanged.

    Raises:
        UsageError: a threshold is given for a head that is not a detector's, or is not between 0 and 1.
    """
    if threshold is not None:
        return thresholded(head, threshold)
    if not isinstance(head, SsdHead) or head.class_thresholds:
        return head
    return replace(head, score_threshold=max(head.score_threshold, THRESHOLD))

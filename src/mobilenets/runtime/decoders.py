"""From a network's outputs to predictions, by task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mobilenets.runtime import classify
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect import decode as detect
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment import decode as segment
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.model import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Prediction = Classification | Detections | Segmentation
"""What a predictor says of one image."""

Decoder = Callable[["Mapping[str, NDArray[np.float32]]", Manifest, Sequence[Placement]], Sequence[Prediction]]

DECODERS: dict[Task, Decoder] = {
    "classify": classify.decode,
    "detect": detect.decode,
    "segment": segment.decode,
}


def decode(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement]
) -> Sequence[Prediction]:
    """One prediction per image of the batch.

    Args:
        outputs: of an engine, by name.
        manifest: of the network that gave them.
        placements: where each image lies under the network's input.

    Raises:
        CheckpointError: the outputs do not fit the manifest.
    """
    return DECODERS[manifest.task](outputs, manifest, placements)

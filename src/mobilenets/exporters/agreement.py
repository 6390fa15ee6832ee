"""Agreement between the predictions of two networks: top labels, matching boxes, classes of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.exporters.parity import Agreement, OutputParity
from mobilenets.runtime.decoders import Prediction, decode
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.engines.base import Outputs, Runs
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.model import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRAY = 0.01
"""Share of detections that may be unmatched: equal scores and overlaps right at the threshold can go either way."""

NEAR_TIES = 0.001
"""Share of pixels whose class may differ: if two logits are equal up to rounding, either class is correct."""

_NEAR = 1e-3  # share of the input's longer side: how far apart matched boxes may be

Pair = tuple[Outputs, Outputs]
"""The outputs of the model and of the exported network for one batch."""

Compared = tuple[tuple[OutputParity, ...], Agreement]
"""The differences of decoded numbers, and how many decoded results agree."""


class Compare(Protocol):
    """Compares the predictions of a model and of an exported network."""

    def __call__(self, pairs: Iterable[Pair], manifest: Manifest, *, tolerance: float = 0.0) -> Compared:
        """The differences over all batches.

        Args:
            pairs: the outputs of both for each batch.
            manifest: the manifest of both networks.
            tolerance: the tolerance of the outputs; a larger one allows a larger share of results to differ.
        """
        ...


def both(model: Runs, exported: Runs, batches: Iterable[NDArray[np.float32]]) -> Iterator[Pair]:
    """The outputs of two networks for each batch of preprocessed images, N C H W."""
    for batch in batches:
        yield model.run(batch), exported.run(batch)


def compare_labels(pairs: Iterable[Pair], manifest: Manifest, *, tolerance: float = 0.0) -> Compared:
    """Count the images whose top label differs, and near ties, where both labels score the same up to the tolerance."""
    differing = ties = total = 0
    for expected, exported in pairs:
        logits, others = expected["logits"], exported["logits"]
        first, other = logits.argmax(1), others.argmax(1)
        at = np.arange(len(logits))
        margin = logits[at, first] - logits[at, other]
        beyond = int((margin > 2 * tolerance * np.abs(logits).max(initial=0)).sum())
        differing += beyond
        ties += int((first != other).sum()) - beyond
        total += len(logits)
    return (), Agreement("first label", "images", differing, total, 0.0, ties)


def compare_classes(pairs: Iterable[Pair], manifest: Manifest, *, tolerance: float = 0.0) -> Compared:
    """Count the pixels of the input whose classes differ."""
    differing = total = 0
    for reference, exported in _predictions(pairs, manifest):
        assert isinstance(reference, Segmentation)
        assert isinstance(exported, Segmentation)
        differing += int((reference.classes != exported.classes).sum())
        total += reference.classes.size
    return (), Agreement("classes", "pixels", differing, total, max(NEAR_TIES, tolerance))


def compare_detections(pairs: Iterable[Pair], manifest: Manifest, *, tolerance: float = 0.0) -> Compared:
    """The largest score difference between detections that match, and how many detections have no match."""
    near = max(_NEAR, tolerance) * max(manifest.input.shape)
    worst, strays, total = 0.0, 0, 0
    for reference, exported in _predictions(pairs, manifest):
        assert isinstance(reference, Detections)
        assert isinstance(exported, Detections)
        for first, second in ((reference, exported), (exported, reference)):
            difference, alone = _partners(first, second, near)
            worst, strays, total = max(worst, difference), strays + alone, total + len(first)
    agreement = Agreement("detections", "boxes", strays, total, max(STRAY, 2 * tolerance))
    return (OutputParity("detections", worst, worst),), agreement


COMPARE: Mapping[Task, Compare] = {"classify": compare_labels, "detect": compare_detections, "segment": compare_classes}
"""How predictions of each task are compared."""


def _predictions(pairs: Iterable[Pair], manifest: Manifest) -> Iterator[tuple[Prediction, Prediction]]:
    """The predictions of two networks for each image, taking the network's input as the original image."""
    height, width = manifest.input.shape
    for expected, outputs_of_file in pairs:
        places = [Placement(width, height, 1, 1, 0, 0)] * len(next(iter(expected.values())))
        reference, exported = (decode(outputs, manifest, places) for outputs in (expected, outputs_of_file))
        yield from zip(reference, exported, strict=True)


def _partners(first: Detections, second: Detections, near: float) -> tuple[float, int]:
    """The largest score difference of matched detections (same class, within `near` px), and how many have no match."""
    if not len(first) or not len(second):
        return 0.0, len(first)
    far = np.abs(first.boxes[:, np.newaxis] - second.boxes).max(axis=2) > near
    far |= first.classes[:, np.newaxis] != second.classes
    differences = np.abs(first.scores[:, np.newaxis].astype(np.float64) - second.scores)
    least = np.where(far, np.inf, differences).min(axis=1)
    with_partner = np.isfinite(least)
    return float(least[with_partner].max(initial=0)), int((~with_partner).sum())

"""Mirrored views of an image. A classifier averages their logits if mirroring does not change an image's meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mobilenets.specs.model import ClassifierHead, Head, Mirrors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs, Runs

# fmt: off
AXES: dict[Mirrors, tuple[tuple[int, ...], ...]] = {
    "none":       ((),),
    "horizontal": ((), (3,)),
    "vertical":   ((), (2,)),
    "both":       ((), (3,), (2,), (2, 3)),
}
# fmt: on
"""The axes of N C H W along which each view is flipped."""


def axes_of(head: Head) -> tuple[tuple[int, ...], ...]:
    """The views that a head averages. Only a classifier can have more than the image itself."""
    return AXES[head.mirrors] if isinstance(head, ClassifierHead) else AXES["none"]


def run(engine: Runs, batch: NDArray[np.float32], head: Head) -> Outputs:
    """The outputs for a batch N C H W, averaged over the head's views.

    Args:
        engine: runs each view; within a predictor, this is the gate in front of its engine.
        batch: preprocessed images.
        head: the network's head.
    """
    views = axes_of(head)
    if len(views) == 1:
        return engine.run(batch)
    outputs_of_views = [engine.run(np.ascontiguousarray(np.flip(batch, axes)) if axes else batch) for axes in views]
    names = outputs_of_views[0]
    return {name: np.mean([outputs[name] for outputs in outputs_of_views], axis=0, dtype=np.float32) for name in names}

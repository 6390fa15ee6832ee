"""Mirrored views of an image, whose logits a classifier averages: for images that mean the same in a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mobilenets.specs.model import ClassifierHead, Head, Mirrors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Engine

# fmt: off
AXES: dict[Mirrors, tuple[tuple[int, ...], ...]] = {
    "none":       ((),),
    "horizontal": ((), (3,)),
    "vertical":   ((), (2,)),
    "both":       ((), (3,), (2,), (2, 3)),
}
# fmt: on
"""The axes of N C H W that each view is flipped along."""


def axes_of(head: Head) -> tuple[tuple[int, ...], ...]:
    """The views that a head answers for; only a classifier has more than the image itself."""
    return AXES[head.mirrors] if isinstance(head, ClassifierHead) else AXES["none"]


def run(engine: Engine, batch: NDArray[np.float32], head: Head) -> dict[str, NDArray[np.float32]]:
    """The engine's outputs for a batch N C H W, the mean over the head's views."""
    views = axes_of(head)
    if len(views) == 1:
        return engine.run(batch)
    every = [engine.run(np.ascontiguousarray(np.flip(batch, axes)) if axes else batch) for axes in views]
    return {name: np.mean([outputs[name] for outputs in every], axis=0, dtype=np.float32) for name in every[0]}

"""A runtime from outside, as someone else would write one: an engine, and an entry for the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.manifest import Manifest, read_beside, write_beside


class ToyEngine(Engine):
    """Runs `.toy` files: text with the factor by which the mean of each channel becomes its logit. It takes two images at once.

    Args:
        path: the file; its manifest lies beside it.
        threads: are of no use here.
    """

    outputs = ("logits",)
    batch = 2

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path = path
        self.source = str(path)
        self._factor = float(path.read_text())

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        assert len(batch) == self.batch
        return {"logits": self._factor * batch.mean(axis=(2, 3))}

    def manifest(self) -> Manifest:
        return read_beside(self.path)


def write_toy(path: Path, manifest: Manifest, factor: float) -> Path:
    """A `.toy` file with its manifest beside it."""
    path.write_text(str(factor))
    write_beside(path, manifest)
    return path

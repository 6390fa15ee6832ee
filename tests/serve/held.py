"""`Held`: an engine that waits until a test lets it run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract


class Held(Engine):
    """An engine that runs when `turns` has a turn for it; the logits of image i are i times its mean.

    Args:
        path: a file with the number that is added to the logits.
        threads: is not used.
    """

    concurrent = True
    outputs = ("logits",)
    turns = threading.Semaphore(0)
    batches: ClassVar[list[int]] = []

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.source = str(path)
        if not path.read_text().isdigit():
            raise CheckpointError(f"'{path}' holds no number")
        self._added = int(path.read_text())

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        if batch.any():  # not what measures the curve
            Held.turns.acquire()
            Held.batches.append(len(batch))
        return {"logits": batch.mean(axis=(2, 3)) + np.float32(self._added)}

    def manifest(self) -> Manifest:
        return Manifest("held", ("red", "green", "blue"), InputContract(size=16))

"""`Gate`: the only way into an engine, for single images, streams, tiles, scales and mirrored views."""

from __future__ import annotations

from threading import Semaphore
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.base import Engine, Outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Gate:
    """Enforces an engine's limits: how many threads are inside it, and how many images it gets at once.

    Args:
        engine: the engine behind the gate.
        runs: number of threads that may be inside at once; always one unless the engine is concurrent.
    """

    def __init__(self, engine: Engine, runs: int) -> None:
        self.engine = engine
        self._turns = Semaphore(max(1, runs) if engine.concurrent else 1)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for any number of preprocessed images N C H W; may be called by many threads.

        Raises:
            CheckpointError: the engine cannot run on this input, or returns the wrong number of results.
        """
        size = self.engine.batch
        if size is None or size == len(batch):
            return self._entered(batch)
        parts = [self._entered(_filled(batch[i : i + size], size)) for i in range(0, len(batch), size)]
        return {name: np.concatenate([part[name] for part in parts])[: len(batch)] for name in parts[0]}

    def _entered(self, batch: NDArray[np.float32]) -> Outputs:
        with self._turns:
            outputs = self.engine.run(batch)
        for name, output in outputs.items():
            if output.ndim == 0 or len(output) != len(batch):
                raise CheckpointError(f"the network was given {len(batch)} images, but '{name}' has shape {list(output.shape)}")
        return outputs


def _filled(batch: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The batch, padded with images of zeros to `size`."""
    missing = size - len(batch)
    return np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)]) if missing else batch

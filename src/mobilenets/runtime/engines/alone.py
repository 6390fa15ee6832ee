"""`Alone`: the way into a network for an image that comes alone, which several threads compute together where that pays."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from mobilenets.errors import MobileNetsError
from mobilenets.runtime.engines.fastest import Candidate, Choice, fastest
from mobilenets.runtime.engines.gate import Gate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs


class Alone:
    """Streams keep every thread busy with an image of its own, which a single image cannot.

    The first image opens the fastest candidate. An image that comes while another is computed goes the way of streams, so that
    many callers do not wait for each other. `choice` says which candidate was chosen, and why; None before the first image.

    Args:
        shared: the way of streams.
        candidates: the first is the engine behind `shared`, the others compute an image with several threads. With none but
            the first, every image goes the way of streams.
    """

    def __init__(self, shared: Gate, candidates: Sequence[Candidate]) -> None:
        self.choice: Choice | None = None
        self._shared = shared
        self._candidates = candidates if len(candidates) > 1 else ()
        self._turn = Lock()
        self._own: Gate | None = None

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for a preprocessed image 1 C H W; may be called by many threads.

        Raises:
            CheckpointError: the engine cannot run on this input, or returns another number of results.
        """
        if not self._candidates or not self._turn.acquire(blocking=False):
            return self._shared.run(batch)
        try:
            gate = self._own = self._own or self._opened()
            return gate.run(batch)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Release the engine, if there is one beside that of streams."""
        with self._turn:
            if self._own is not None and self._own is not self._shared:
                self._own.engine.close()
            self._own, self._candidates = None, ()

    def _opened(self) -> Gate:
        """The fastest candidate's; that of streams where its engine is the fastest, or cannot be opened once more."""
        try:
            engine, self.choice = fastest(self._candidates)
        except MobileNetsError:
            return self._shared
        if self.choice.name != self._candidates[0].label:
            return Gate(engine, 1)
        engine.close()
        return self._shared

"""`Alone`: how a single image is run: on several threads together if that is faster than the engine used for streams."""

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
    """Runs single images. A stream keeps every thread busy with its own image; a single image may need several threads.

    The first image opens the fastest candidate. An image that arrives while another is computed uses the engine of streams, so
    that concurrent callers do not wait for each other. `choice` tells which candidate was chosen and why; it is None before the
    first image.

    Args:
        shared: the gate to the engine of streams.
        candidates: the first is the engine behind `shared`; the others compute one image with several threads. If there is only
            the first, every image uses `shared`.
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
            CheckpointError: the engine cannot run on this input, or returns the wrong number of results.
        """
        if not self._candidates or not self._turn.acquire(blocking=False):
            return self._shared.run(batch)
        try:
            gate = self._own = self._own or self._opened()
            return gate.run(batch)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Release the engine, if one was opened besides that of streams."""
        with self._turn:
            if self._own is not None and self._own is not self._shared:
                self._own.engine.close()
            self._own, self._candidates = None, ()

    def _opened(self) -> Gate:
        """The fastest candidate's gate; `shared` if its engine is the fastest or the fastest cannot be opened again."""
        try:
            engine, self.choice = fastest(self._candidates)
        except MobileNetsError:
            return self._shared
        if self.choice.name != self._candidates[0].label:
            return Gate(engine, 1)
        engine.close()
        return self._shared

"""The latencies of several networks, on a clock that the networks themselves move."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.int8 import timing
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import ClassifierHead, InputContract


class Clock:
    """Stands for `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed(Engine):
    """An engine whose runs take the given milliseconds, one after the other and again."""

    def __init__(self, clock: Clock, *runs_ms: float) -> None:
        self.outputs = ("logits",)
        self._clock, self._runs_ms = clock, cycle(runs_ms)

    def manifest(self) -> Manifest:
        return Manifest("timed", ("cat", "dog"), InputContract(size=32), ClassifierHead())

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        self._clock.now += next(self._runs_ms) / 1000
        return {"logits": np.zeros((len(batch), 2), np.float32)}


def test_runs_that_waited_for_other_programs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    engines = [Timed(clock, 2, 2, 40, 38, 41), Timed(clock, 1, 30, 1, 35, 33)]
    assert timing.latencies_ms(engines) == pytest.approx((2, 1))

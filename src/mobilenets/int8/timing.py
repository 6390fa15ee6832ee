"""`latencies_ms`: measures the latencies of several networks, interleaved."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.gate import Gate

SECONDS = 1.5
"""Total time of the measurement, for all networks together."""

_LEAST, _MOST = 5, 400  # runs of each network


def latencies_ms(engines: Sequence[Engine]) -> tuple[float, ...]:
    """The latency of each engine for one image on one thread. They take turns, so that disturbances affect all alike.

    It is the lower quartile: on a busy machine, most runs of a small network may have waited for other programs, and the median
    of such times says more of those than of the network.

    Args:
        engines: engines with the same input size.
    """
    contract = engines[0].manifest().input
    image = np.random.default_rng(0).normal(size=(1, contract.channels, *contract.shape)).astype(np.float32)
    gates = [Gate(engine, 1) for engine in engines]
    times: list[list[float]] = [[] for _ in engines]
    for gate in gates:
        gate.run(image)
    end = time.perf_counter() + SECONDS
    while len(times[0]) < _LEAST or (time.perf_counter() < end and len(times[0]) < _MOST):
        for gate, own in zip(gates, times, strict=True):
            start = time.perf_counter()
            gate.run(image)
            own.append(1000 * (time.perf_counter() - start))
    return tuple(sorted(own)[len(own) // 4] for own in times)

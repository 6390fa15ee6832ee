"""`Curve`: what batches of several sizes cost on an engine, measured when a model is opened, and so which size pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Outputs

SIZES = (1, 2, 4, 8, 16)
"""Sizes that are measured, if the engine takes any."""

PAYS = 0.95
"""A larger batch must take less than this share of the time of a smaller one, for each image."""

BUDGET_S = 0.8
"""How long a network is timed; a slow one at least once, and only with sizes that fit into the time."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of a batch by its number of images.

    Args:
        seconds: of each size that was measured, ascending; the first is one image.
    """

    seconds: Mapping[int, float]

    def size(self, waiting: int) -> int:
        """The images that should go through the network next, when so many wait: the fewest that make the best of the time.

        >>> Curve({1: 0.010, 2: 0.0198, 4: 0.024}).size(3), Curve({1: 0.010, 2: 0.0198, 4: 0.024}).size(9)
        (1, 4)
        """
        best = 1
        for size, seconds in self.seconds.items():
            if size <= waiting and seconds / size < PAYS * self.seconds[best] / best:
                best = size
        return best

    @property
    def most(self) -> int:
        """The largest batch that pays."""
        return self.size(max(self.seconds))


def measured(
    run: Callable[[NDArray[np.float32]], Outputs],
    image: NDArray[np.float32],
    *,
    batch: int | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Curve:
    """The curve of an engine.

    Args:
        run: the engine, or its gate.
        image: something to run on, `1 C H W`.
        batch: the only size that the engine takes; None for any.
        clock: tells seconds.
    """
    if batch is not None:  # fewer images are filled up, so they take as long
        seconds = _seconds(run, image, BUDGET_S / 4, clock)
        return Curve(dict.fromkeys(range(1, batch + 1), seconds))
    found: dict[int, float] = {}
    left = BUDGET_S
    for size in SIZES:
        if found and size * found[1] > left / 2:
            break
        start = clock()
        found[size] = _seconds(run, np.repeat(image, size, axis=0), left / 4, clock)
        left -= clock() - start
    return Curve(found)


def _seconds(
    run: Callable[[NDArray[np.float32]], Outputs], batch: NDArray[np.float32], budget: float, clock: Callable[[], float]
) -> float:
    """The lower quartile of as many runs as fit into a time, after one that is not counted."""
    run(batch)
    times: list[float] = []
    end = clock() + budget
    while not times or (clock() < end and len(times) < _RUNS):
        start = clock()
        run(batch)
        times.append(clock() - start)
    return sorted(times)[len(times) // 4]


_RUNS = 20

"""`Curve`: the cost of batches by size, measured when a model is opened, to choose the most efficient size."""

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
"""Sizes to measure, if the engine takes any size."""

PAYS = 0.9
"""A larger batch is used only if its time per image is less than this share of that of a smaller batch."""

BUDGET_S = 0.8
"""Time for measuring, in seconds. Even a slow network is timed once, but only at sizes that fit in several times."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The duration of a batch by its number of images.

    Args:
        seconds: duration of each measured size, in ascending order; the first is one image.
    """

    seconds: Mapping[int, float]

    def size(self, waiting: int) -> int:
        """Number of images to run next when this many wait: the smallest batch with close to the best throughput.

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
        """The largest efficient batch."""
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
        image: an image to run on, `1 C H W`.
        batch: the only size that the engine takes; None for any.
        clock: returns the time in seconds.
    """
    if batch is not None:  # fewer images are padded, so they take as long
        return Curve(dict.fromkeys(range(1, batch + 1), _timed(run, {1: image}, clock)[1]))
    run(image)
    start = clock()
    run(image)
    single = clock() - start
    sizes = [size for size in SIZES if size == 1 or _ROUNDS * (2 * size - 1) * single < BUDGET_S]
    return Curve(_timed(run, {size: np.repeat(image, size, axis=0) for size in sizes}, clock))


def _timed(
    run: Callable[[NDArray[np.float32]], Outputs], batches: Mapping[int, NDArray[np.float32]], clock: Callable[[], float]
) -> dict[int, float]:
    """The shortest time of each batch size. They take turns, so that temporary slowdowns affect all of them."""
    for batch in batches.values():
        run(batch)
    least = dict.fromkeys(batches, float("inf"))
    end = clock() + BUDGET_S
    for _ in range(_MOST_ROUNDS):
        for size, batch in batches.items():
            start = clock()
            run(batch)
            least[size] = min(least[size], clock() - start)
        if clock() >= end:
            break
    return least


_ROUNDS, _MOST_ROUNDS = 3, 20

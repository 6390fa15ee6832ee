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

PAYS = 0.9
"""A larger batch must take less than this share of the time of a smaller one, for each image."""

BUDGET_S = 0.8
"""How long a network is timed; a slow one at least once, and only with sizes that fit into the time several times."""


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
    """The least time of each batch. They take turns, so that what slows the machine for a while slows all of them."""
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

"""Folds for cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5


def folds(count: int, parts: int = FOLDS, *, seed: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices to fit on and indices to test on, for each of `parts` folds; each index is tested once.

    With fewer indices than parts, each index is a fold of its own. With fewer than two indices there are no folds.
    """
    order = np.random.default_rng(seed).permutation(count)
    parts = min(parts, count)
    for part in range(parts if parts > 1 else 0):
        held_out = np.sort(order[part::parts])
        yield np.setdiff1d(order, held_out), held_out

"""Bilinear interpolation along one axis: the two source positions of each new position, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.operators import Coordinates

RESIZE_BITS = 10
"""Bits of the integer weights of int8 resizing."""


@dataclass(frozen=True, slots=True, eq=False)
class Blends:
    """The source positions and weights of each new position.

    Args:
        length: number of source positions.
        places: the source positions before and after each new position, new x 2; the same one twice at an end.
        weights: their weights, new x 2: 32-bit floats that add up to 1, or integers that add up to 2**RESIZE_BITS.
    """

    length: int
    places: NDArray[np.int64]
    weights: NDArray[Any]  # Any: floats or integers

    def matrix(self) -> NDArray[Any]:  # Any: as above
        """The interpolation as a matrix, new x length."""
        matrix = np.zeros((len(self.places), self.length), self.weights.dtype)
        for i in range(2):
            np.add.at(matrix, (np.arange(len(matrix)), self.places[:, i]), self.weights[:, i])
        return matrix


def float_blends(length: int, new: int, coordinates: Coordinates) -> Blends:
    """The interpolation with weights in 32-bit floats."""
    at = np.arange(new, dtype=np.float64)
    if coordinates == "align_corners":
        at = at * ((length - 1) / (new - 1)) if new > 1 else at * 0
    else:
        at = np.maximum((at + 0.5) * (length / new) - 0.5, 0)
    before = np.minimum(at.astype(np.int64), length - 1)
    share = (at - before).astype(np.float32)
    return Blends(length, _pairs(before, np.minimum(before + 1, length - 1)), _pairs(1 - share, share))


def byte_blends(length: int, new: int, coordinates: Coordinates) -> Blends:
    """The interpolation with 10-bit integer weights, as in TFLite's reference kernels."""
    one = 1 << RESIZE_BITS
    at = np.arange(new)
    if coordinates == "align_corners":
        step = ((length - 1) * one + (new - 1) // 2) // (new - 1) if new > 1 else (length * one + new // 2) // new
        at = at * step
    else:
        step = (length * one + new // 2) // new
        at = at * step + step // 2 - one // 2
    before = np.clip((at / one).astype(np.int64), 0, length - 1)  # toward zero
    behind = np.clip(-(-at // one), 0, length - 1)
    share = at - one * before
    return Blends(length, _pairs(before, behind), _pairs(one - share, share))


def _pairs(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    return np.stack([first, second], axis=1)

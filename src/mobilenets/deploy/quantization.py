"""`Quantization`: what the integers of a value or weight stand for, by the TFLite int8 specification.

Values are 8 bits with one scale and a zero point. Weights are 8 bits with one scale, or one for each output channel, and the
zero point 0. Biases are 32 bits, and their scale follows: that of the value read times that of the weights, channel by channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import GraphError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST, HIGHEST = -128, 127
"""The range of 8 bits."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How integers are read: real = scale * (integer - zero point).

    Args:
        scales: one, or one for each index of the first axis; positive. They are kept in the precision of 32-bit floats, as
            runtimes keep them.
        zero_point: the integer that stands for 0, -128 to 127.

    Raises:
        GraphError: a scale is not positive and finite, or the zero point is out of range.
    """

    scales: tuple[float, ...]
    zero_point: int = 0

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            scales: tuple[float, ...] = tuple(np.asarray(self.scales, np.float32).tolist())
        for scale in scales:
            if not 0 < scale < math.inf:
                raise GraphError(f"a scale is {scale:g}, but scales must be positive and finite")
        if not scales:
            raise GraphError("a quantization has no scale")
        if not LOWEST <= self.zero_point <= HIGHEST:
            raise GraphError(f"the zero point is {self.zero_point}, but zero points are {LOWEST} to {HIGHEST}")
        object.__setattr__(self, "scales", scales)

    @property
    def scale(self) -> float:
        """The scale of a value, which has only one."""
        [scale] = self.scales
        return scale

    def along(self, rank: int) -> NDArray[np.float64]:
        """The scales in a shape that multiplies an array of this rank along its first axis."""
        return np.reshape(np.asarray(self.scales, np.float64), (-1, *[1] * (rank - 1)))


SHARE = Quantization((1 / 256,), LOWEST)
"""What the specification fixes for numbers from 0 to 1: the outputs of softmax and of the sigmoid."""


def bias_scales(read: Quantization, weight: Quantization) -> NDArray[np.float64]:
    """The scales of a bias: those of what its operator reads and of its weights, multiplied."""
    return read.scale * np.asarray(weight.scales, np.float64)

"""`Quantization`: the scales and zero point of an int8 value or weight, following the TFLite int8 specification.

Values have 8 bits, one scale and a zero point. Weights have 8 bits, one scale or one per output channel, and zero point 0.
Biases have 32 bits; their scale is the scale of the operator's input times the scale of the weights, per channel.
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
"""The range of signed 8-bit integers."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """The reals that integers represent: real = scale * (integer - zero point).

    Args:
        scales: one, or one for each index of the first axis; positive. They are rounded to 32-bit floats, as in runtimes.
        zero_point: the integer that represents 0, -128 to 127.

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
        """The only scale of a value."""
        [scale] = self.scales
        return scale

    def along(self, rank: int) -> NDArray[np.float64]:
        """The scales, reshaped to broadcast along the first axis of an array of this rank."""
        return np.reshape(np.asarray(self.scales, np.float64), (-1, *[1] * (rank - 1)))


SHARE = Quantization((1 / 256,), LOWEST)
"""The quantization that the specification prescribes for the outputs of softmax and sigmoid, which lie between 0 and 1."""


def bias_scales(read: Quantization, weight: Quantization) -> NDArray[np.float64]:
    """The scales of a bias: the input scale of its operator times the scales of its weights."""
    return read.scale * np.asarray(weight.scales, np.float64)

"""`Parts`: splits the weighted sum of a large layer into parts that are fitted separately, to bound memory.

An atrous 3 x 3 convolution with 1,280 input channels sums up 11,520 products. The second moments of its inputs are a matrix of
11,520 x 11,520 numbers of 8 bytes, 1 GB, and a fit needs several of them. The second moments of the parts are much smaller.
Different channels at one position of the kernel correlate more than one channel at different positions, so each part holds
channels of a single position (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]  # Any: floats or integers

_WHOLE = 2048  # the longest sum that is fitted whole; the papers' classifiers have up to 1,792 inputs (V2 1.4)
_PART = 640  # most channels in a part of a longer sum; 320 would take half the time and lose up to 0.4 dB (LOG.md)


@dataclass(frozen=True, slots=True)
class Parts:
    """How the weighted sums of one layer are split.

    Args:
        places: positions of the kernel, each with parts of its own; 1 if sums are fitted whole.
        numbers: inputs at each position: the channels, or the whole sum if it is not split.
        each: parts at each position, of equal length; the last is padded with zeros.

    >>> Parts.of((256, 1280, 3, 3)), Parts.of((1000, 1280))
    (Parts(places=9, numbers=1280, each=2), Parts(places=1, numbers=1280, each=1))
    """

    places: int
    numbers: int
    each: int = 1

    @classmethod
    def of(cls, shape: Sequence[int]) -> Parts:
        """The parts for weights of this shape, O C or O C kh kw."""
        length = prod(shape[1:])
        return cls(1, length) if length <= _WHOLE else cls(prod(shape[2:]), shape[1], -(-shape[1] // _PART))

    @property
    def count(self) -> int:
        """The number of parts of a sum."""
        return self.places * self.each

    @property
    def length(self) -> int:
        """The length of a part."""
        return -(-self.numbers // self.each)

    def apart(self, numbers: Numbers) -> Numbers:
        """Split the terms of sums, A K n, ordered by channel as in the weights, into parts: A count length n."""
        by_place = numbers.reshape(len(numbers), self.numbers, self.places, -1).swapaxes(1, 2)  # A places numbers n
        missing = self.each * self.length - self.numbers
        ended = np.pad(by_place, ((0, 0), (0, 0), (0, missing), (0, 0))) if missing else by_place
        return ended.reshape(len(numbers), self.count, self.length, -1)

    def joined(self, apart: Numbers) -> Numbers:
        """The inverse of `apart` for A count length: the order of the weights, A K."""
        by_place = apart.reshape(len(apart), self.places, -1)[:, :, : self.numbers]
        return by_place.swapaxes(1, 2).reshape(len(apart), -1)

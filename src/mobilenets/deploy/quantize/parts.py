"""`Parts`: how a sum that is too long to be fitted whole is cut, so that each part is fitted to its own share of it.

An atrous convolution that reads 1,280 channels sums up 11,520 numbers. Their second moments are 11,520 x 11,520 numbers of 8
bytes, 1 GB, and a fit needs several such tables. The second moments of parts are a small fraction. Channels at one place of the
window depend on each other more than one channel at several places, so that a part is of one place (LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]  # Any: floats or integers

_WHOLE = 2048  # numbers of a sum that are fitted together; the papers' classifiers have up to 1,792 (V2 1.4)
_PART = 640  # channels of a part of longer sums; 320 take half the time, and lose up to 0.4 dB (LOG.md)


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of the sums of one layer.

    Args:
        places: of the window, each with parts of its own; 1 where sums are fitted whole.
        numbers: of each place.
        each: how many parts the numbers of a place are cut into, as equal as they can be; the last may end with zeros.

    >>> Parts.of((256, 1280, 3, 3)), Parts.of((1000, 1280))
    (Parts(places=9, numbers=1280, each=2), Parts(places=1, numbers=1280, each=1))
    """

    places: int
    numbers: int
    each: int = 1

    @classmethod
    def of(cls, shape: Sequence[int]) -> Parts:
        """For weights of a shape, O C or O C kh kw."""
        length = prod(shape[1:])
        return cls(1, length) if length <= _WHOLE else cls(prod(shape[2:]), shape[1], -(-shape[1] // _PART))

    @property
    def count(self) -> int:
        """How many parts a sum has."""
        return self.places * self.each

    @property
    def length(self) -> int:
        """Numbers of a part."""
        return -(-self.numbers // self.each)

    def apart(self, numbers: Numbers) -> Numbers:
        """The numbers of sums, A K n, channel by channel as weights have them, in parts: A count length n."""
        by_place = numbers.reshape(len(numbers), self.numbers, self.places, -1).swapaxes(1, 2)  # A places numbers n
        missing = self.each * self.length - self.numbers
        ended = np.pad(by_place, ((0, 0), (0, 0), (0, missing), (0, 0))) if missing else by_place
        return ended.reshape(len(numbers), self.count, self.length, -1)

    def joined(self, apart: Numbers) -> Numbers:
        """What is in parts, A count length, as weights have it: A K."""
        by_place = apart.reshape(len(apart), self.places, -1)[:, :, : self.numbers]
        return by_place.swapaxes(1, 2).reshape(len(apart), -1)

"""`Value`: what two networks, the float and the quantized one, make in one place of the graph, kept small for many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.integers import quantize
from mobilenets.deploy.quantization import Quantization

Numbers = NDArray[np.float32]

_NUMBERS_AT_ONCE = 1 << 20  # of a value that an operator reads or makes, unless one image has more
_MOST_AT_ONCE = 8  # images
_PIECE = 1 << 16  # numbers that are worked on while they lie in the processor's cache
_HALF_MOST = 6e4  # beyond it 16-bit floats overflow


@dataclass(frozen=True, slots=True)
class Value:
    """A value on all images, N ....

    Args:
        meant: what the float network makes, in floats of 16 bits where their range allows it: 72 dB or better.
        made: what the quantized network makes, as integers, or in floats where it has no quantization.
        quantization: what those integers stand for.
    """

    meant: NDArray[Any]  # Any: floats of 16 or 32 bits
    made: NDArray[Any]  # Any: those, or 8-bit integers
    quantization: Quantization | None = None

    def __len__(self) -> int:
        return len(self.meant)

    def meant_on(self, some: slice) -> Numbers:
        """What is meant on some of the images, as 32-bit floats."""
        return self.meant[some].astype(np.float32)

    def made_on(self, some: slice) -> Numbers:
        """What is made on some of the images, as 32-bit floats."""
        made = self.made[some].astype(np.float32)
        if self.quantization is not None:
            made -= np.float32(self.quantization.zero_point)
            made *= np.float32(self.quantization.scale)
        return made

    def quantized(self, quantization: Quantization) -> Value:
        """The value as integers."""
        made = np.empty(self.made.shape, np.int8)
        flat, source = made.reshape(-1), replace(self, meant=self.meant.reshape(-1), made=self.made.reshape(-1))
        for piece in _pieces(flat.size):
            flat[piece] = quantize(source.made_on(piece), quantization)
        return Value(self.meant, made, quantization)

    def decibels(self) -> float:
        """Signal to quantization noise over all images."""
        signal = noise = 0.0
        flat = replace(self, meant=self.meant.reshape(-1), made=self.made.reshape(-1))
        for piece in _pieces(self.meant.size):
            meant, made = flat.meant_on(piece), flat.made_on(piece)
            signal += float(np.square(meant, dtype=np.float64).sum())
            noise += float(np.square(meant - made, dtype=np.float64).sum())
        return _ratio(signal, noise)


def computed(rule: Callable[[slice], Numbers], count: int, numbers: int) -> NDArray[Any]:  # Any: floats of 16 or 32 bits
    """The results of a rule for some images after the other, in one array of floats that is as small as they allow.

    Args:
        rule: what it makes of some of the images, n ....
        count: how many images there are.
        numbers: that the rule reads or makes of an image, about, so that not too many images are in memory at once.
    """
    at_once = int(np.clip(_NUMBERS_AT_ONCE // numbers, 1, _MOST_AT_ONCE))
    result: NDArray[Any] | None = None
    for i in range(0, count, at_once):
        some = slice(i, min(i + at_once, count))
        part = rule(some)
        if result is None:
            result = np.empty((count, *part.shape[1:]), np.float16)
        if result.dtype == np.float16 and np.abs(part).max(initial=0) >= _HALF_MOST:
            result = result.astype(np.float32)
        result[some] = part
    assert result is not None
    return result


def _pieces(count: int) -> Iterator[slice]:
    for i in range(0, count, _PIECE):
        yield slice(i, i + _PIECE)


def decibels(meant: NDArray[Any], made: NDArray[Any]) -> float:  # Any: floats
    """Signal to noise: infinite where both are equal.

    >>> round(decibels(np.ones(4), np.array([1.1, 0.9, 1.1, 0.9])), 6)
    20.0
    """
    return _ratio(*(float(np.square(x, dtype=np.float64).sum()) for x in (meant, meant - made)))


def _ratio(signal: float, noise: float) -> float:
    return float("inf") if noise == 0 else float("-inf") if signal == 0 else 10 * float(np.log10(signal / noise))

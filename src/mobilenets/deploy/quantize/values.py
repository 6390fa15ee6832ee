"""`Value`: what two networks, the float and the quantized one, make in one place of the graph, kept small for many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.integers import quantize
from mobilenets.deploy.quantization import Quantization

Numbers = NDArray[np.float32]

IMAGES_AT_ONCE = 8
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

    def part(self, some: slice) -> tuple[Numbers, Numbers]:
        """What is meant and what is made on some of the images, as 32-bit floats."""
        made = self.made[some].astype(np.float32)
        if self.quantization is not None:
            made = (made - self.quantization.zero_point) * np.float32(self.quantization.scale)
        return self.meant[some].astype(np.float32), made

    def parts(self) -> Iterator[tuple[Numbers, Numbers]]:
        """What is meant and what is made, a few images after the other."""
        for i in range(0, len(self), IMAGES_AT_ONCE):
            yield self.part(slice(i, i + IMAGES_AT_ONCE))

    def quantized(self, quantization: Quantization) -> Value:
        """The value as integers."""
        made = np.empty(self.made.shape, np.int8)
        for i in range(0, len(self), IMAGES_AT_ONCE):
            made[i : i + IMAGES_AT_ONCE] = quantize(self.part(slice(i, i + IMAGES_AT_ONCE))[1], quantization)
        return Value(self.meant, made, quantization)

    def decibels(self) -> float:
        """Signal to quantization noise over all images."""
        signal = noise = 0.0
        for meant, made in self.parts():
            signal += float(np.square(meant, dtype=np.float64).sum())
            noise += float(np.square(meant - made, dtype=np.float64).sum())
        return _ratio(signal, noise)


def computed(rule: Callable[[int], Numbers], count: int) -> NDArray[Any]:  # Any: floats of 16 or 32 bits
    """The results of a rule for image 0, `IMAGES_AT_ONCE`, and so on, in one array of floats that is as small as they allow."""
    parts = []
    for i in range(0, count, IMAGES_AT_ONCE):
        part = rule(i)
        parts.append(part.astype(np.float16) if np.abs(part).max(initial=0) < _HALF_MOST else part)
    return np.concatenate(parts)


def decibels(meant: NDArray[Any], made: NDArray[Any]) -> float:  # Any: floats
    """Signal to noise: infinite where both are equal.

    >>> round(decibels(np.ones(4), np.array([1.1, 0.9, 1.1, 0.9])), 6)
    20.0
    """
    return _ratio(*(float(np.square(x, dtype=np.float64).sum()) for x in (meant, meant - made)))


def _ratio(signal: float, noise: float) -> float:
    return float("inf") if noise == 0 else float("-inf") if signal == 0 else 10 * float(np.log10(signal / noise))

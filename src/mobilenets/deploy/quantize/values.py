"""`Value`: the activations of the float and of the quantized network at one point of the graph, stored compactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.integers import quantize
from mobilenets.deploy.quantization import Quantization

Numbers = NDArray[np.float32]

_NUMBERS_AT_ONCE = 1 << 20  # most numbers of one value in a batch of images; a batch has at least one image
_MOST_AT_ONCE = 8  # images
_PIECE = 1 << 16  # numbers processed at a time, so that they fit the processor's cache
_HALF_MOST = 6e4  # 16-bit floats overflow beyond it


@dataclass(frozen=True, slots=True)
class Value:
    """The activations of both networks for one value on all images, N ....

    Args:
        meant: of the float network; in 16-bit floats if their range suffices, which leaves 72 dB or better.
        made: of the quantized network: integers, or floats if the value is not quantized.
        quantization: scale and zero point of those integers.
    """

    meant: NDArray[Any]  # Any: floats of 16 or 32 bits
    made: NDArray[Any]  # Any: those, or 8-bit integers
    quantization: Quantization | None = None

    def __len__(self) -> int:
        return len(self.meant)

    def meant_on(self, some: slice) -> Numbers:
        """Activations of the float network on some of the images, as 32-bit floats."""
        return self.meant[some].astype(np.float32)

    def made_on(self, some: slice) -> Numbers:
        """Activations of the quantized network on some of the images, dequantized to 32-bit floats."""
        made = self.made[some].astype(np.float32)
        if self.quantization is not None:
            made -= np.float32(self.quantization.zero_point)
            made *= np.float32(self.quantization.scale)
        return made

    def quantized(self, quantization: Quantization) -> Value:
        """The value with the quantized network's activations rounded to 8-bit integers."""
        made = np.empty(self.made.shape, np.int8)
        flat, source = made.reshape(-1), replace(self, meant=self.meant.reshape(-1), made=self.made.reshape(-1))
        for piece in _pieces(flat.size):
            flat[piece] = quantize(source.made_on(piece), quantization)
        return Value(self.meant, made, quantization)

    def decibels(self) -> float:
        """Signal-to-quantization-noise ratio over all images, in dB."""
        signal = noise = 0.0
        flat = replace(self, meant=self.meant.reshape(-1), made=self.made.reshape(-1))
        for piece in _pieces(self.meant.size):
            meant, made = flat.meant_on(piece), flat.made_on(piece)
            signal += float(np.square(meant, dtype=np.float64).sum())
            noise += float(np.square(meant - made, dtype=np.float64).sum())
        return _ratio(signal, noise)


def computed(rule: Callable[[slice], Numbers], count: int, numbers: int) -> NDArray[Any]:  # Any: floats of 16 or 32 bits
    """The results of a function for all images, computed in batches; in 16-bit floats unless they would overflow.

    Args:
        rule: maps a slice of the images to their results, n ....
        count: how many images there are.
        numbers: size of the largest value that the function reads or returns for one image; it limits the batch size.
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
    """Signal-to-noise ratio in dB; infinite if both arrays are equal.

    >>> round(decibels(np.ones(4), np.array([1.1, 0.9, 1.1, 0.9])), 6)
    20.0
    """
    return _ratio(*(float(np.square(x, dtype=np.float64).sum()) for x in (meant, meant - made)))


def _ratio(signal: float, noise: float) -> float:
    return float("inf") if noise == 0 else float("-inf") if signal == 0 else 10 * float(np.log10(signal / noise))

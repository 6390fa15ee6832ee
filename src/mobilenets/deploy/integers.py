"""Quantization of real numbers, and fixed-point multiplication, with the rounding of the TFLite int8 specification.

A factor is a 31-bit integer times a power of two, so that no device needs floating point. A product is rounded twice: to 32
bits when it is shifted right by 31 bits, and again when the remaining power of two is shifted out. Both steps are bit-exact
with TFLite's reference kernels (`SaturatingRoundingDoublingHighMul`, `RoundingDivideByPOT`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization

Integers = NDArray[np.int64]
"""Sums and products before they are reduced to 8 bits; all of them fit 32."""

_BITS = 31
_LARGEST_REAL = 2.0**30  # quotients are clipped to this before they become integers


@dataclass(frozen=True, slots=True)
class Factor:
    """Positive real factors as integers: mantissa * 2**(shift - 31).

    Args:
        mantissas: 2**30 to 2**31 - 1, or 0 for a factor below 2**-32.
        shifts: the same shape.
    """

    mantissas: Integers
    shifts: Integers


def factor(real: ArrayLike) -> Factor:
    """The factors closest to these reals, with mantissas of 31 bits.

    Args:
        real: non-negative, any shape.
    """
    fraction, shifts = np.frexp(np.asarray(real, np.float64))  # 0.5 <= fraction < 1
    mantissas = rounded(fraction * 2**_BITS)
    full = mantissas == 1 << _BITS
    mantissas, shifts = np.where(full, mantissas >> 1, mantissas), shifts.astype(np.int64) + full
    kept = shifts >= -_BITS
    return Factor(np.where(kept, mantissas, 0), np.where(kept, shifts, 0))


def scaled(numbers: Integers, by: Factor) -> Integers:
    """Each number times its factor, rounded to an integer.

    Args:
        numbers: integers that fit 32 bits.
        by: factors whose shape is that of the numbers or is broadcast to it.
    """
    left, right = np.maximum(by.shifts, 0), np.maximum(-by.shifts, 0)
    saturated = np.clip(numbers << left, -(1 << _BITS), (1 << _BITS) - 1)
    high = (saturated * by.mantissas + (1 << (_BITS - 1))) >> _BITS
    half = (1 << right) >> 1
    product: Integers = (high + half - ((high < 0) & (half > 0))) >> right
    return product


def rounded(real: ArrayLike) -> Integers:
    """The nearest integers; halves are rounded away from zero, as in C.

    >>> rounded([0.5, -0.5, 2.5, 1.4]).tolist()
    [1, -1, 3, 1]
    """
    numbers = np.asarray(real, np.float64)
    return np.trunc(numbers + np.copysign(0.5, numbers)).astype(np.int64)


def to_bytes(numbers: Integers, low: int = LOWEST, high: int = HIGHEST) -> NDArray[np.int8]:
    """The numbers as 8-bit integers, clipped to the bounds."""
    return np.clip(numbers, low, high).astype(np.int8)


def quantize(real: NDArray[np.floating], quantization: Quantization) -> NDArray[np.int8]:
    """Real numbers quantized to 8 bits.

    Args:
        real: finite; if there are several scales, they belong to its first axis.
        quantization: scales and zero point of the integers.
    """
    scales = quantization.along(real.ndim).astype(np.float32)
    quotient = np.clip(np.asarray(real, np.float32) / scales, -_LARGEST_REAL, _LARGEST_REAL)
    return to_bytes(rounded(quotient) + quantization.zero_point)


def quantize_bias(real: NDArray[np.floating], scales: NDArray[np.float64]) -> NDArray[np.int32]:
    """Biases quantized to 32 bits.

    Args:
        real: O.
        scales: O, or one for all.
    """
    bounds = np.iinfo(np.int32)
    return np.clip(rounded(np.asarray(real, np.float64) / scales), bounds.min, bounds.max).astype(np.int32)


def dequantize(numbers: NDArray[np.integer], quantization: Quantization) -> NDArray[np.float32]:
    """The reals that integers represent.

    Args:
        numbers: integers; if there are several scales, they belong to the first axis.
        quantization: scales and zero point of the integers.
    """
    offset = numbers.astype(np.int64) - quantization.zero_point
    return (quantization.along(numbers.ndim) * offset).astype(np.float32)

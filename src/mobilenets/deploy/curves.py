"""The activations of a network, and softmax, in 32-bit floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.operators import ActivationKind

Array = NDArray[np.float32]


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    grown = np.exp(x - x.max(-1, keepdims=True))
    share: Array = grown / grown.sum(-1, keepdims=True)
    return share


def _relu6(x: Array) -> Array:
    return np.clip(x, np.float32(0), np.float32(6))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def _gelu(x: Array) -> Array:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    curve: Array = (x * 0.5 * (1 + erf(x / math.sqrt(2)))).astype(np.float32)
    return curve


_SIXTH = np.float32(1 / 6)
_THREE = np.float32(3)
# fmt: off
ACTIVATIONS: dict[ActivationKind, Callable[[Array], Array]] = {
    "linear":       lambda x: x,
    "relu":         lambda x: np.maximum(x, np.float32(0)),
    "relu6":        _relu6,
    "hard_swish":   lambda x: x * _relu6(x + _THREE) * _SIXTH,
    "hard_sigmoid": lambda x: _relu6(x + _THREE) * _SIXTH,
    "sigmoid":      _sigmoid,
    "gelu":         _gelu,
}
# fmt: on
"""Every elementwise activation."""

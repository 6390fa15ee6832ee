"""Operations that compute no new numbers, alike for floats and integers: windows, padding, concatenation, reshapes, argmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op

Values = NDArray[Any]  # Any: floats or integers


def windows(x: Values, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Values:
    """A view of a padded feature map as sliding windows, N C kh kw h w: the inputs of each kernel position."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    every = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))  # N C h w reach reach
    seen = every[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]  # N C h w kh kw
    return seen.transpose(0, 1, 4, 5, 2, 3)


def columns(x: Values, kernel: Sequence[int], operator: op.Conv) -> tuple[Values, tuple[int, int]]:
    """The im2col matrix of a convolution, N C·kh·kw h·w, and the height and width of its output."""
    x = padded(x, operator.padding)
    if tuple(kernel) == (1, 1):
        seen = x[:, :, :: operator.stride[0], :: operator.stride[1]]
    else:
        seen = windows(x, kernel, operator.stride, operator.dilation)
    height, width = seen.shape[-2:]
    return seen.reshape(len(x), -1, height * width), (height, width)


def seen(operator: op.Weighted, shape: Sequence[int], x: Values) -> Values:
    """The inputs whose weighted sum is each output of a layer with weights of this shape: N G K positions, K inputs per sum.

    A depthwise convolution has as many groups G as channels; other layers have one.
    """
    if isinstance(operator, op.Dense):
        return x[:, None, :, None]
    if isinstance(operator, op.Conv):
        return columns(x, shape[2:], operator)[0][:, None]
    every = windows(padded(x, operator.padding), shape[2:], operator.stride, operator.dilation)
    return every.reshape(len(x), shape[0], shape[2] * shape[3], -1)


def padded(x: Values, padding: op.Margins) -> Values:
    """A feature map with zeros around it."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(padding) else x


def _concat(operator: op.Concat, inputs: Sequence[Values]) -> Values:
    return np.concatenate(inputs, axis=1)


def _flatten(operator: op.Flatten, inputs: Sequence[Values]) -> Values:
    return inputs[0][:, :, 0, 0]


def _rows(operator: op.Rows, inputs: Sequence[Values]) -> Values:
    return inputs[0].transpose(0, 2, 3, 1).reshape(len(inputs[0]), -1, operator.columns)


def _places(operator: op.Places, inputs: Sequence[Values]) -> Values:
    return inputs[0].reshape(len(inputs[0]), *operator.size, -1).transpose(0, 3, 1, 2)


def _argmax(operator: op.ArgMax, inputs: Sequence[Values]) -> Values:
    best: NDArray[np.uint8] = inputs[0].argmax(1).astype(np.uint8)
    return best


# fmt: off
MOVES: dict[type[op.Operator], Callable[[Any, Sequence[Values]], Values]] = {  # Any: the operator of the rule's kind
    op.Concat:  _concat,
    op.Flatten: _flatten,
    op.Rows:    _rows,
    op.Places:  _places,
    op.ArgMax:  _argmax,
}
# fmt: on
"""The operators that only move numbers or pick an index, and so work alike on floats and integers."""

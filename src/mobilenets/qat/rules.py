"""The operators of an int8 graph in torch, on dequantized reals; `network.py` then rounds their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilenets.deploy import operators as op
from mobilenets.deploy.blends import RESIZE_BITS, byte_blends

Weights = tuple[Tensor, ...]
"""Weight and bias of an operator; empty for operators without weights."""


def compute(operator: op.Operator, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    """The output of an operator before rounding.

    Args:
        operator: of any kind except `Boxes` and `Nms`.
        inputs: its inputs, N ... each.
        weights: its weight and bias, if it has them.
    """
    made = _RULES[type(operator)](operator, inputs, weights)
    return _ACTIVATIONS[getattr(operator, "activation", "linear")](made)


def _windowed(x: Tensor, operator: op.Conv | op.Depthwise) -> tuple[Tensor, tuple[int, int]]:
    """The input of a convolution and the padding argument for torch; uneven padding is applied to the input instead."""
    top, bottom, left, right = operator.padding
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)


def _conv(operator: op.Conv | op.Depthwise, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    x, padding = _windowed(inputs[0], operator)
    weight, bias = weights
    groups = len(weight) if isinstance(operator, op.Depthwise) else 1
    return functional.conv2d(x, weight, bias, operator.stride, padding, operator.dilation, groups)


def _dense(operator: op.Dense, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return functional.linear(inputs[0], *weights)


def _add(operator: op.Add, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0] + inputs[1]


def _multiply(operator: op.Multiply, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0] * inputs[1]


def _pool(operator: op.Pool, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    if tuple(inputs[0].shape[2:]) == operator.kernel:
        return inputs[0].mean((2, 3), keepdim=True)
    return functional.avg_pool2d(inputs[0], operator.kernel, operator.stride)


def _activation(operator: op.Activation, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return _ACTIVATIONS[operator.kind](inputs[0])


def _resize(operator: op.Resize, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    """Bilinear, with the weights of int8 resizing, which are multiples of 1/1024."""
    x = inputs[0]
    down, across = (
        torch.from_numpy(byte_blends(old, new, operator.coordinates).matrix()).to(x) / (1 << RESIZE_BITS)
        for old, new in zip(x.shape[2:], operator.size, strict=True)
    )
    return down @ x @ across.T


def _concat(operator: op.Concat, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return torch.cat(tuple(inputs), 1)


def _flatten(operator: op.Flatten, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0].flatten(1)


def _rows(operator: op.Rows, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0].permute(0, 2, 3, 1).reshape(len(inputs[0]), -1, operator.columns)


def _places(operator: op.Places, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0].reshape(len(inputs[0]), *operator.size, -1).permute(0, 3, 1, 2)


def _matmul(operator: op.MatMul, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    second = inputs[1].transpose(1, 2) if operator.transposed else inputs[1]
    return torch.bmm(inputs[0], second) * operator.factor


def _softmax(operator: op.Softmax, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return torch.softmax(inputs[0], -1)


def _same(operator: op.Operator, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return inputs[0]


# fmt: off
_ACTIVATIONS: dict[op.ActivationKind, Callable[[Tensor], Tensor]] = {
    "linear":       lambda x: x,
    "relu":         functional.relu,
    "relu6":        functional.relu6,
    "hard_swish":   functional.hardswish,
    "hard_sigmoid": functional.hardsigmoid,
    "sigmoid":      torch.sigmoid,
    "gelu":         functional.gelu,
}
_RULES: dict[type[op.Operator], Callable[[Any, Sequence[Tensor], Weights], Tensor]] = {  # Any: the rule's kind of operator
    op.Conv:       _conv,
    op.Depthwise:  _conv,
    op.Dense:      _dense,
    op.Add:        _add,
    op.Multiply:   _multiply,
    op.Pool:       _pool,
    op.Activation: _activation,
    op.Resize:     _resize,
    op.Concat:     _concat,
    op.Flatten:    _flatten,
    op.Rows:       _rows,
    op.Places:     _places,
    op.MatMul:     _matmul,
    op.Softmax:    _softmax,
    op.Quantize:   _same,
    op.Dequantize: _same,
}
# fmt: on

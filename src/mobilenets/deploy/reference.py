"""The meaning of a graph: every operator in NumPy, in 32-bit floats, slow and plain. Writers and engines are compared to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import ActivationKind

Array = NDArray[np.float32]


def run(graph: Graph, batch: Array) -> dict[str, NDArray[Any]]:  # Any: floats, and the indices of an argmax
    """The outputs by name.

    Args:
        graph: a network.
        batch: prepared images, N C H W.
    """
    values = run_all(graph, batch)
    return {name: values[value] for name, value in graph.outputs.items()}


def run_all(graph: Graph, batch: Array) -> dict[str, NDArray[Any]]:  # Any: as above
    """Every value by name, the input too: what ranges are observed on, and where two runtimes first differ."""
    values: dict[str, NDArray[Any]] = {INPUT: batch}
    for operator in graph.operators:
        inputs = [values[name] for name in operator.inputs]
        values[operator.output] = _RULES[type(operator)](operator, inputs, graph.tensors)
    return values


def activate(x: Array, kind: ActivationKind) -> Array:
    """An activation of each number."""
    return ACTIVATIONS[kind](x)


def windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Array:
    """What each place of a window sees as it moves over a padded map: N C kh kw h w, a view."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    every = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))  # N C h w reach reach
    seen = every[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]  # N C h w kh kw
    return seen.transpose(0, 1, 4, 5, 2, 3)


def padded(x: Array, padding: op.Margins) -> Array:
    """A map with zeros around it."""
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(padding) else x


def resize_matrix(length: int, new: int, coordinates: op.Coordinates) -> Array:
    """Bilinear weights along one side, new x length: row i says what of the old places makes the new place i."""
    at = np.arange(new, dtype=np.float64)
    if coordinates == "align_corners":
        at = at * ((length - 1) / (new - 1)) if new > 1 else at * 0
    else:
        at = np.maximum((at + 0.5) * (length / new) - 0.5, 0)
    below = np.minimum(at.astype(np.int64), length - 1)
    above = np.minimum(below + 1, length - 1)
    matrix = np.zeros((new, length), np.float32)
    share = (at - below).astype(np.float32)
    np.add.at(matrix, (np.arange(new), below), 1 - share)
    np.add.at(matrix, (np.arange(new), above), share)
    return matrix


def _conv(operator: op.Conv, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    weight, bias = tensors[operator.weight], tensors[operator.bias]
    x = padded(inputs[0], operator.padding)
    if weight.shape[2:] == (1, 1):
        seen = x[:, :, :: operator.stride[0], :: operator.stride[1]]
    else:
        seen = windows(x, weight.shape[2:], operator.stride, operator.dilation)
    n, (height, width) = len(x), seen.shape[-2:]
    columns = seen.reshape(n, -1, height * width)  # N C·kh·kw h·w
    total = np.matmul(weight.reshape(len(weight), -1), columns) + bias[:, np.newaxis]
    return activate(total.reshape(n, len(weight), height, width), operator.activation)


def _depthwise(operator: op.Depthwise, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    weight, bias = tensors[operator.weight], tensors[operator.bias]
    seen = windows(padded(inputs[0], operator.padding), weight.shape[2:], operator.stride, operator.dilation)
    total = np.broadcast_to(bias[:, np.newaxis, np.newaxis], (len(seen), *seen.shape[1:2], *seen.shape[4:])).copy()
    for down in range(weight.shape[2]):
        for across in range(weight.shape[3]):
            total += seen[:, :, down, across] * weight[:, 0, down, across, np.newaxis, np.newaxis]
    return activate(total, operator.activation)


def _dense(operator: op.Dense, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return activate(inputs[0] @ tensors[operator.weight].T + tensors[operator.bias], operator.activation)


def _add(operator: op.Add, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return activate(inputs[0] + inputs[1], operator.activation)


def _multiply(operator: op.Multiply, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return inputs[0] * inputs[1]


def _pool(operator: op.Pool, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    mean: Array = windows(inputs[0], operator.kernel, operator.stride).mean((2, 3), dtype=np.float32)
    return mean


def _activation(operator: op.Activation, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return activate(inputs[0], operator.kind)


def _resize(operator: op.Resize, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    down, across = (
        resize_matrix(old, new, operator.coordinates) for old, new in zip(inputs[0].shape[2:], operator.size, strict=True)
    )
    large: Array = np.matmul(np.matmul(down, inputs[0]), across.T)
    return large


def _concat(operator: op.Concat, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return np.concatenate(inputs, axis=1)


def _flatten(operator: op.Flatten, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return inputs[0][:, :, 0, 0]


def _rows(operator: op.Rows, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return inputs[0].transpose(0, 2, 3, 1).reshape(len(inputs[0]), -1, operator.columns)


def _places(operator: op.Places, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return inputs[0].reshape(len(inputs[0]), *operator.size, -1).transpose(0, 3, 1, 2)


def _matmul(operator: op.MatMul, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    second = inputs[1].swapaxes(1, 2) if operator.transposed else inputs[1]
    product: Array = np.matmul(inputs[0], second) * np.float32(operator.factor)
    return product


def _softmax(operator: op.Softmax, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    grown = np.exp(inputs[0] - inputs[0].max(-1, keepdims=True))
    share: Array = grown / grown.sum(-1, keepdims=True)
    return share


def _argmax(operator: op.ArgMax, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> NDArray[np.int64]:
    best: NDArray[np.int64] = inputs[0].argmax(1)
    return best


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
_RULES: dict[type[op.Operator], Callable[..., NDArray[Any]]] = {
    op.Conv:       _conv,
    op.Depthwise:  _depthwise,
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
    op.ArgMax:     _argmax,
}
# fmt: on

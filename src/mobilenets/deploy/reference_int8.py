"""The reference implementation of int8 operators: the TFLite int8 specification in NumPy.

It is bit-exact with TFLite's reference kernels except for hard swish and softmax: here these are computed in floats and rounded
once, while the kernels approximate them in integers, to within one step of our results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilenets.deploy import curves, layout
from mobilenets.deploy import operators as op
from mobilenets.deploy.blends import RESIZE_BITS, byte_blends
from mobilenets.deploy.integers import Factor, Integers, dequantize, factor, quantize, rounded, scaled, to_bytes
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization, bias_scales

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph

Bytes = NDArray[np.int8]

ADD_BITS = 20
"""How many bits the inputs of an addition are shifted left before they are rescaled."""


@dataclass(frozen=True, slots=True)
class _Read:
    """An input of an operator: its integers and their quantization."""

    numbers: NDArray[Any]  # Any: 8-bit integers, or floats that are to be quantized
    quantization: Quantization

    def offsets(self) -> Integers:
        """The difference of each integer from the zero point."""
        return self.numbers.astype(np.int64) - self.quantization.zero_point


def compute(graph: Graph, operator: op.Operator, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:  # Any: as in `_Read`
    """The output of an int8 operator.

    Args:
        graph: the graph of the operator, with its weights and quantizations.
        operator: an operator that reads or produces integers.
        inputs: its input values; floats only if it quantizes them.
    """
    if isinstance(operator, op.Dequantize):
        return dequantize(inputs[0], graph.quantization[operator.inputs[0]])
    made = graph.quantization[operator.output]
    if isinstance(operator, op.Quantize) and operator.inputs[0] not in graph.quantization:
        return quantize(inputs[0], made)
    read = [_Read(numbers, graph.quantization[name]) for name, numbers in zip(operator.inputs, inputs, strict=True)]
    return _RULES[type(operator)](graph, operator, read, made)


def bounds(kind: op.ActivationKind, made: Quantization) -> tuple[int, int]:
    """The smallest and the largest integer in the output of a fused activation."""
    cut = [LOWEST, HIGHEST]
    for i, knee in enumerate(_KNEES[kind]):
        if knee is not None:
            at = int(rounded(np.float32(knee) / np.float32(made.scale))) + made.zero_point
            cut[i] = min(max(at, LOWEST), HIGHEST)
    return cut[0], cut[1]


def six_times(made: Quantization) -> Quantization:
    """The quantization in which the same integers represent six times as much."""
    return Quantization((6 * made.scale,), made.zero_point)


def weighted_factor(read: Quantization, weight: Quantization, made: Quantization) -> Factor:
    """The factor by which the sums of a layer are rescaled to its output: one, or one per output channel."""
    return factor(bias_scales(read, weight) / made.scale)


def sum_factors(first: Quantization, second: Quantization, made: Quantization) -> tuple[Factor, Factor, Factor]:
    """The factors that rescale both inputs of an addition, shifted by `ADD_BITS`, to a common scale, and the sum to the output.

    The common scale is twice the larger of the two input scales.
    """
    scales = [np.float32(quantization.scale) for quantization in (first, second)]
    common = float(2 * max(scales))
    return factor(float(scales[0]) / common), factor(float(scales[1]) / common), factor(common / (2**ADD_BITS * made.scale))


def product_factor(first: Quantization, second: Quantization, made: Quantization) -> Factor:
    """The factor by which a product of two integers is rescaled to the output."""
    a, b, out = (np.float32(quantization.scale) for quantization in (first, second, made))
    return factor(a * b / out)


def mean_factor(read: Quantization, made: Quantization, count: int) -> Factor:
    """The factor by which the sum over a feature map is rescaled to its mean; it includes the division by the count."""
    whole = factor(read.scale / made.scale)
    shift = min(count.bit_length() - 1, _BITS + int(whole.shifts))
    return Factor((whole.mantissas << shift) // count, whole.shifts - shift)


def _made(totals: Integers, by: Factor, made: Quantization, kind: op.ActivationKind = "linear") -> Bytes:
    return to_bytes(scaled(totals, by) + made.zero_point, *bounds(kind, made))


def _weighted(totals: Integers, read: _Read, graph: Graph, operator: op.Weighted, made: Quantization) -> Bytes:
    """The sums of a layer, rescaled to 8 bits; the axis after the batch is the channels."""
    by = weighted_factor(read.quantization, graph.quantization[operator.weight], made)
    shape = (-1, *[1] * (totals.ndim - 2))
    return _made(totals, Factor(by.mantissas.reshape(shape), by.shifts.reshape(shape)), made, operator.activation)


def _product(first: ArrayLike, second: ArrayLike) -> Integers:
    """The product of two integer matrices, in 64-bit floats: they represent every sum exactly and multiply much faster."""
    sums: Integers = np.matmul(np.asarray(first, np.float64), np.asarray(second, np.float64)).astype(np.int64)
    return sums


def _conv(graph: Graph, operator: op.Conv, read: Sequence[_Read], made: Quantization) -> Bytes:
    weight, bias = graph.tensors[operator.weight], graph.tensors[operator.bias]
    seen, size = layout.columns(read[0].offsets(), weight.shape[2:], operator)
    totals = _product(weight.reshape(len(weight), -1), seen) + bias.astype(np.int64)[:, np.newaxis]  # N O h·w
    return _weighted(totals, read[0], graph, operator, made).reshape(len(seen), len(weight), *size)


def _depthwise(graph: Graph, operator: op.Depthwise, read: Sequence[_Read], made: Quantization) -> Bytes:
    weight, bias = (graph.tensors[name].astype(np.int64) for name in (operator.weight, operator.bias))
    x = layout.padded(read[0].offsets(), operator.padding)
    seen = layout.windows(x, weight.shape[2:], operator.stride, operator.dilation)  # N C kh kw h w
    totals = bias[:, np.newaxis, np.newaxis] + sum(
        seen[:, :, down, across] * weight[:, 0, down, across, np.newaxis, np.newaxis]
        for down in range(weight.shape[2])
        for across in range(weight.shape[3])
    )
    return _weighted(np.asarray(totals), read[0], graph, operator, made)


def _dense(graph: Graph, operator: op.Dense, read: Sequence[_Read], made: Quantization) -> Bytes:
    totals = _product(read[0].offsets(), graph.tensors[operator.weight].T) + graph.tensors[operator.bias].astype(np.int64)
    return _weighted(totals, read[0], graph, operator, made)


def _add(graph: Graph, operator: op.Add, read: Sequence[_Read], made: Quantization) -> Bytes:
    return _sum(read[0], read[1], made, operator.activation)


def _sum(first: _Read, second: _Read, made: Quantization, kind: op.ActivationKind) -> Bytes:
    """Rescale both inputs to a common scale with 20 more bits, add them, and rescale the sum to the output."""
    to_common, other_to_common, to_made = sum_factors(first.quantization, second.quantization, made)
    totals = scaled(first.offsets() << ADD_BITS, to_common) + scaled(second.offsets() << ADD_BITS, other_to_common)
    return _made(totals, to_made, made, kind)


def _multiply(graph: Graph, operator: op.Multiply, read: Sequence[_Read], made: Quantization) -> Bytes:
    return _made(read[0].offsets() * read[1].offsets(), product_factor(read[0].quantization, read[1].quantization, made), made)


def _pool(graph: Graph, operator: op.Pool, read: Sequence[_Read], made: Quantization) -> Bytes:
    x, count = read[0], math.prod(operator.kernel)
    if x.numbers.shape[2:] != operator.kernel:  # the scale stays
        totals = layout.windows(x.numbers.astype(np.int64), operator.kernel, operator.stride).sum((2, 3))
        return to_bytes(np.sign(totals) * ((abs(totals) + count // 2) // count))
    return _made(x.offsets().sum((2, 3), keepdims=True), mean_factor(x.quantization, made, count), made)


def _activation(graph: Graph, operator: op.Activation, read: Sequence[_Read], made: Quantization) -> Bytes:
    return _ACTIVATIONS[operator.kind](read[0], operator.kind, made)


def _cut(x: _Read, kind: op.NonLinear, made: Quantization) -> Bytes:
    return _made(x.offsets(), factor(x.quantization.scale / made.scale), made, kind)


def _hard_sigmoid(x: _Read, kind: op.NonLinear, made: Quantization) -> Bytes:
    """relu6(x + 3) at six times the output scale: at the output scale, the same integers represent a sixth of it."""
    return _sum(x, _THREE, six_times(made), "relu6")


def _curve(x: _Read, kind: op.NonLinear, made: Quantization) -> Bytes:
    """Apply an activation with a lookup table for all 256 integers."""
    every = np.arange(LOWEST, HIGHEST + 1)
    table = quantize(curves.ACTIVATIONS[kind](dequantize(every, x.quantization)), made)
    return table[x.numbers.astype(np.int64) - LOWEST]


def _resize(graph: Graph, operator: op.Resize, read: Sequence[_Read], made: Quantization) -> Bytes:
    down, across = (
        byte_blends(old, new, operator.coordinates).matrix()
        for old, new in zip(read[0].numbers.shape[2:], operator.size, strict=True)
    )
    totals = _product(_product(down, read[0].numbers), across.T)
    half = 1 << (2 * RESIZE_BITS - 1)
    return to_bytes(np.sign(totals) * ((abs(totals) + half) >> (2 * RESIZE_BITS)))


def _matmul(graph: Graph, operator: op.MatMul, read: Sequence[_Read], made: Quantization) -> Bytes:
    first, second = read[0].offsets(), read[1].offsets()
    totals = _product(first, second.swapaxes(1, 2) if operator.transposed else second)
    return _made(totals, factor(read[0].quantization.scale * read[1].quantization.scale / made.scale), made)


def _softmax(graph: Graph, operator: op.Softmax, read: Sequence[_Read], made: Quantization) -> Bytes:
    return quantize(curves.softmax(dequantize(read[0].numbers, read[0].quantization)), made)


def _quantize(graph: Graph, operator: op.Quantize, read: Sequence[_Read], made: Quantization) -> Bytes:
    return _made(read[0].offsets(), factor(read[0].quantization.scale / made.scale), made)


_BITS = 31
_THREE = _Read(np.asarray(HIGHEST, np.int8), Quantization((3 / HIGHEST,)))  # the 3 of the hard sigmoid, as a value

# fmt: off
_KNEES: dict[op.ActivationKind, tuple[float | None, float | None]] = {
    "linear": (None, None),
    "relu":   (0, None),
    "relu6":  (0, 6),
}
_ACTIVATIONS: dict[op.NonLinear, Callable[[_Read, op.NonLinear, Quantization], Bytes]] = {
    "relu":         _cut,
    "relu6":        _cut,
    "hard_swish":   _curve,
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid":      _curve,
    "gelu":         _curve,
}
_RULES: dict[type[op.Operator], Callable[[Graph, Any, Sequence[_Read], Quantization], Bytes]] = {  # Any: the rule's operator
    op.Conv:       _conv,
    op.Depthwise:  _depthwise,
    op.Dense:      _dense,
    op.Add:        _add,
    op.Multiply:   _multiply,
    op.Pool:       _pool,
    op.Activation: _activation,
    op.Resize:     _resize,
    op.MatMul:     _matmul,
    op.Softmax:    _softmax,
    op.Quantize:   _quantize,
}
# fmt: on

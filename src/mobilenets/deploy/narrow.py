"""`narrowed`: reduces the weights of a quantized network to 7 bits while approximating its results with 8.

x86 processors without VNNI add two products of 8-bit integers in 16 bits, which overflows unless weights are within -64 and 64.
The code passes through the network once, from input to outputs. Each layer reads the activations of the already narrowed
layers, later weights compensate the rounding errors of earlier ones (GPTQ, Frantar et al. 2023), and the bias keeps the mean of
every channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import layout, reference, reference_int8
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import HIGHEST_OF_7_BITS as MOST
from mobilenets.deploy.integers import dequantize, quantize_bias
from mobilenets.deploy.quantization import Quantization, bias_scales
from mobilenets.deploy.rounding import Matrix, compensated

_AT_ONCE = 8  # images
_PLACES = {op.Conv: 4096, op.Depthwise: 512, op.Dense: 4096}  # most positions per image used to estimate correlations
_DAMPING = 0.01  # this share of the mean variance is added to each, which limits how far rounding relies on correlations


def narrowed(graph: Graph, images: NDArray[np.float32], *, advance: Callable[[int], object] = lambda _: None) -> Graph:
    """The graph with every int8 weight within -64 and 64; only weights, their scales and biases change.

    Channels whose weights are within these bounds already keep their scales.

    Args:
        graph: a quantized graph with a float input.
        images: preprocessed calibration images, N C H W; a few dozen that resemble what the network will see in use.
        advance: called with 1 after each operator.
    """
    made, values = graph, {INPUT: _Value(images, images)}
    readers = graph.readers()
    for operator in graph.operators:
        read = [values[name] for name in operator.inputs]
        if isinstance(operator, op.Weighted) and _is_wide(graph, operator):
            made = _with_narrow(made, graph, operator, read[0])
        values[operator.output] = _Value(
            _run(graph, operator, [value.wide for value in read]), _run(made, operator, [value.narrow for value in read])
        )
        for name in operator.inputs:
            readers[name] -= 1
            if not readers[name]:
                del values[name]
        advance(1)
    made.check()
    return made


@dataclass(frozen=True, slots=True)
class _Value:
    """A value's activations on all images, in the network with wide and in the one with narrow weights."""

    wide: NDArray[Any]  # Any: floats or 8-bit integers
    narrow: NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Read:
    """The inputs of a layer: their means in the wide and in the narrow network, G K, and their covariance in the narrow, G K K.

    A depthwise convolution has as many groups G as channels, other layers have one; K is the number of inputs in a sum.
    """

    wide: Matrix
    narrow: Matrix
    covariance: Matrix


def _is_wide(graph: Graph, operator: op.Weighted) -> bool:
    return operator.weight in graph.quantization and int(np.abs(graph.tensors[operator.weight].astype(int)).max()) > MOST


def _run(graph: Graph, operator: op.Operator, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:  # Any: as above
    parts = []
    for i in range(0, len(inputs[0]), _AT_ONCE):
        some = [x[i : i + _AT_ONCE] for x in inputs]
        if graph.quantized(operator) and type(operator) not in layout.MOVES:
            parts.append(reference_int8.compute(graph, operator, some))
        else:
            parts.append(reference.compute(operator, some, graph.tensors))
    return np.concatenate(parts)


def _with_narrow(made: Graph, graph: Graph, operator: op.Weighted, value: _Value) -> Graph:
    """The graph narrowed so far, with the weights of one more operator in 7 bits."""
    weight, quantization = graph.tensors[operator.weight], graph.quantization[operator.weight]
    taken = graph.quantization[operator.inputs[0]]
    read = _read(operator, weight.shape, value, taken)
    groups, length = read.wide.shape
    scales = np.broadcast_to(np.asarray(quantization.scales), len(weight)).reshape(groups, -1)
    integers = weight.reshape(groups, -1, length).astype(np.float64)
    reals = integers * scales[:, :, None]
    wider = np.maximum(np.abs(integers).max(2) / MOST, 1.0)
    narrow_scales = (scales * wider).astype(np.float32).astype(np.float64)
    narrow = compensated(reals, narrow_scales, np.ones_like(reals), read.covariance, MOST)
    stored = Quantization(tuple(narrow_scales.ravel().tolist()))
    bias = (graph.tensors[operator.bias].astype(np.float64) * bias_scales(taken, quantization)).reshape(groups, -1)
    bias = bias + _sums(reals, read.wide) - _sums(narrow * narrow_scales[:, :, None], read.narrow)
    tensors: dict[str, NDArray[Any]] = {  # Any: integers of 8 and 32 bits
        operator.weight: narrow.reshape(weight.shape).astype(np.int8),
        operator.bias: quantize_bias(bias.ravel(), bias_scales(taken, stored)),
    }
    return replace(made, tensors={**made.tensors, **tensors}, quantization={**made.quantization, operator.weight: stored})


def _read(operator: op.Weighted, shape: tuple[int, ...], value: _Value, taken: Quantization) -> _Read:
    groups = shape[0] if isinstance(operator, op.Depthwise) else 1
    length = int(np.prod(shape[1:]))
    count, wide, narrow = 0, np.zeros((groups, length)), np.zeros((groups, length))
    square = np.zeros((groups, length, length))
    for i in range(len(value.wide)):
        seen = [
            layout.seen(operator, shape, dequantize(x[i : i + 1], taken))[0].astype(np.float64)
            for x in (value.wide, value.narrow)
        ]
        places, most = seen[0].shape[-1], _PLACES[type(operator)]
        if places > most:
            some = np.random.default_rng(i).permutation(places)[:most]
            seen = [x[..., some] for x in seen]
        count += seen[0].shape[-1]
        wide += seen[0].sum(2)
        narrow += seen[1].sum(2)
        square += seen[1] @ seen[1].swapaxes(1, 2)
    wide, narrow = wide / count, narrow / count
    covariance = square / count - narrow[:, :, None] * narrow[:, None, :]
    variance = np.trace(covariance, axis1=1, axis2=2) / length
    share = _DAMPING + length / count  # damp more if there are few positions for many inputs
    return _Read(wide, narrow, covariance + (share * variance + 1e-12)[:, None, None] * np.eye(length))


def _sums(weights: Matrix, means: Matrix) -> Matrix:
    """The mean of each output without bias, G O/G."""
    sums: Matrix = (weights @ means[:, :, None])[:, :, 0]
    return sums

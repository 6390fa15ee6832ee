"""The reference implementation of a graph: every operator in plain, slow NumPy. Writers and engines are compared with it.

This module has the operators on 32-bit floats; `reference_int8` has those on quantized values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import curves, layout, reference_int8
from mobilenets.deploy import operators as op
from mobilenets.deploy.blends import Blends, float_blends
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import ActivationKind
from mobilenets.runtime.detect.decode import boxes_of, candidates
from mobilenets.runtime.detect.nms import nms

Array = NDArray[np.float32]


def run(graph: Graph, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:  # Any: floats, 8-bit integers, the indices of an argmax
    """The outputs of a graph, by name.

    Args:
        graph: a network.
        batch: preprocessed images, N C H W; integers if the input of the graph is quantized.
    """
    values = run_all(graph, batch)
    return {name: values[value] for name, value in graph.outputs.items()}


def run_all(graph: Graph, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:  # Any: as above
    """Every value by name, including the input; quantized values are 8-bit integers.

    Calibration observes ranges on these values, and comparisons find where two runtimes first differ.
    """
    values: dict[str, NDArray[Any]] = {INPUT: batch}
    for operator in graph.operators:
        inputs = [values[name] for name in operator.inputs]
        if graph.quantized(operator) and type(operator) not in layout.MOVES:
            values[operator.output] = reference_int8.compute(graph, operator, inputs)
        elif isinstance(operator, op.Nms):
            values.update(zip(operator.made, _nms(operator, inputs, graph.tensors), strict=True))
        else:
            values[operator.output] = compute(operator, inputs, graph.tensors)
    return values


def compute(operator: op.Operator, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> NDArray[Any]:  # Any: as above
    """The output of one operator on floats.

    Args:
        operator: of any kind except `Nms` and those for integers.
        inputs: its input values, N ... each.
        tensors: its weights, by name.
    """
    if type(operator) in layout.MOVES:
        return layout.MOVES[type(operator)](operator, inputs)
    return _RULES[type(operator)](operator, inputs, tensors)


def activate(x: Array, kind: ActivationKind) -> Array:
    """Apply an activation elementwise."""
    return curves.ACTIVATIONS[kind](x)


def _conv(operator: op.Conv, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    weight, bias = tensors[operator.weight], tensors[operator.bias]
    seen, size = layout.columns(inputs[0], weight.shape[2:], operator)
    total = np.matmul(weight.reshape(len(weight), -1), seen) + bias[:, np.newaxis]
    return activate(total.reshape(len(seen), len(weight), *size), operator.activation)


def _depthwise(operator: op.Depthwise, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    weight, bias = tensors[operator.weight], tensors[operator.bias]
    seen = layout.windows(layout.padded(inputs[0], operator.padding), weight.shape[2:], operator.stride, operator.dilation)
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
    mean: Array = layout.windows(inputs[0], operator.kernel, operator.stride).mean((2, 3), dtype=np.float32)
    return mean


def _activation(operator: op.Activation, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return activate(inputs[0], operator.kind)


def _resize(operator: op.Resize, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    """Horizontally, then vertically, rounding each product and sum; engines do the same, so ties between classes stay ties."""
    down, across = (
        float_blends(old, new, operator.coordinates) for old, new in zip(inputs[0].shape[2:], operator.size, strict=True)
    )
    return _blended(_blended(inputs[0], across, axis=3), down, axis=2)


def _blended(x: Array, blends: Blends, *, axis: int) -> Array:
    weights = blends.weights.reshape(-1, 2, *[1] * (3 - axis))
    before, behind = (np.take(x, blends.places[:, i], axis) * weights[:, i] for i in range(2))
    made: Array = before + behind
    return made


def _matmul(operator: op.MatMul, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    second = inputs[1].swapaxes(1, 2) if operator.transposed else inputs[1]
    product: Array = np.matmul(inputs[0], second) * np.float32(operator.factor)
    return product


def _softmax(operator: op.Softmax, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    return curves.softmax(inputs[0])


def _boxes(operator: op.Boxes, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> Array:
    height, width = operator.size
    corners = np.array([width, height, width, height], np.float32)
    each = [boxes_of(offsets, tensors[operator.anchors], operator.variances) for offsets in inputs[0]]
    return np.clip(np.stack(each), 0, corners)


def _nms(operator: op.Nms, inputs: Sequence[Array], tensors: Mapping[str, Any]) -> tuple[NDArray[Any], ...]:
    boxes, scores = inputs[0], inputs[1][:, :, operator.first :]
    most = min(operator.most, scores[0].size)
    found = np.zeros((len(boxes), most, 4), np.float32), np.zeros((len(boxes), most), np.float32)
    labels = np.full((len(boxes), most), -1, np.int64)
    for i in range(len(boxes)):
        places, classes = candidates(scores[i], tensors[operator.thresholds], operator.candidates)
        kept = nms(boxes[i, places], scores[i, places, classes], classes, operator.iou, most=most)
        places, classes = places[kept], classes[kept]
        found[0][i, : len(kept)], found[1][i, : len(kept)] = boxes[i, places], scores[i, places, classes]
        labels[i, : len(kept)] = classes
    return (*found, labels)


# fmt: off
_RULES: dict[type[op.Operator], Callable[..., NDArray[Any]]] = {
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
    op.Boxes:      _boxes,
}
# fmt: on

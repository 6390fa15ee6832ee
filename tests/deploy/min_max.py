"""The plainest quantizer, for tests: every value from its least to its greatest number, every weight by its largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import FUSED
from mobilenets.deploy.integers import quantize, quantize_bias
from mobilenets.deploy.quantization import SHARE, Quantization, bias_scales


def quantized_by_min_max(graph: Graph, images: NDArray[np.float32]) -> Graph:
    """A classifier in 8-bit integers between float ends.

    Args:
        graph: in floats, without `Concat`.
        images: N C H W, whose values give the ranges.
    """
    graph = _apart(graph)
    values = reference.run_all(graph, images)
    start = op.Quantize(name="start", inputs=(INPUT,), output="start")
    scales = {"start": _range(images)}
    tensors: dict[str, NDArray[np.generic]] = {}
    operators: list[op.Operator] = [start]
    for operator in graph.operators:
        inputs = tuple("start" if name == INPUT else name for name in operator.inputs)
        operators.append(replace(operator, inputs=inputs))  # type: ignore[type-var]  # a dataclass
        read = scales[inputs[0]]
        if isinstance(operator, op.Flatten | op.Resize | op.Rows | op.Places):
            scales[operator.output] = read
        elif isinstance(operator, op.Softmax) or (isinstance(operator, op.Activation) and operator.kind == "sigmoid"):
            scales[operator.output] = SHARE
        else:
            scales[operator.output] = _range(values[operator.output])
        if isinstance(operator, op.Weighted):
            weight, bias = graph.tensors[operator.weight], graph.tensors[operator.bias]
            largest = np.abs(weight.reshape(len(weight), -1)).max(1)
            least = np.abs(bias) / (read.scale * 2**30) + 1e-12  # a bias must fit 32 bits, whatever the weights
            scales[operator.weight] = Quantization(tuple(np.maximum(largest / 127, least).tolist()))
            tensors[operator.weight] = quantize(weight.astype(np.float32), scales[operator.weight])
            tensors[operator.bias] = quantize_bias(bias.astype(np.float32), bias_scales(read, scales[operator.weight]))
    [(name, value)] = graph.outputs.items()
    operators.append(op.Dequantize(name="end", inputs=(value,), output="end"))
    made = Graph(graph.manifest, tuple(operators), tensors, {name: "end"}, scales)
    made.check()
    return made


def _range(values: NDArray[np.float32]) -> Quantization:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-3)
    scale = (high - low) / 255
    return Quantization((scale,), int(np.clip(round(-128 - low / scale), -128, 127)))


def _apart(graph: Graph) -> Graph:
    """The graph with an operator of its own for each activation that integers cannot fuse."""
    operators: list[op.Operator] = []
    for operator in graph.operators:
        kind: op.ActivationKind = getattr(operator, "activation", "linear")
        if kind in FUSED:
            operators.append(operator)
            continue
        linear = f"{operator.output}/linear"
        operators.append(replace(operator, output=linear, activation="linear"))  # type: ignore[type-var]
        operators.append(op.Activation(name=linear, inputs=(linear,), output=operator.output, kind=kind, block=operator.block))  # type: ignore[arg-type]
    return replace(graph, operators=tuple(operators))

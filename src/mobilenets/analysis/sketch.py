"""A classifier's exported graph, derived from its outline without torch: every operator, but no weights.

The memory plan of `deploy.arena` needs only operators and shapes, which this provides. A test compares it with the exported
module for every network of the family.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.analysis.layers import Layer, LayerGraph, Window
from mobilenets.analysis.memory import BYTES, Precision
from mobilenets.analysis.outline import margins, rule_of, side_made
from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import fused_plan
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.prepare import split
from mobilenets.errors import SpecError
from mobilenets.runtime.manifest import manifest_of
from mobilenets.specs.model import ModelSpec


def sketch(spec: ModelSpec, outlined: LayerGraph) -> Graph:
    """A classifier's float graph, whose weights are zeros that take no memory.

    Args:
        spec: the classifier's spec.
        outlined: its outline, at any input size.
    """
    lines = _Lines(spec, outlined)
    for i, layer in enumerate(outlined.layers):
        lines.take(i, layer)
    manifest = manifest_of(sized(spec, *outlined.shapes[0][2:]))
    return Graph(manifest, tuple(lines.operators), lines.tensors, {"logits": lines.values[outlined.outputs[0]]})


def sized(spec: ModelSpec, height: int, width: int) -> ModelSpec:
    """The same spec for an input of this height and width, px, to which images are stretched."""
    return replace(spec, input=replace(spec.input, resize="stretch").shaped(height, width))


def row_by_row_bytes(graph: Graph, precision: Precision) -> int:
    """Memory of a float graph if its blocks ran row by row in this precision."""
    if precision == "int8":
        return fused_plan(_in_integers(graph)).size_bytes
    return fused_plan(graph, number_bytes=BYTES[precision]).size_bytes


def _in_integers(graph: Graph) -> Graph:
    """The same operators in int8, between floats at both ends, with arbitrary scales."""
    anything = Quantization((1.0,), 0)
    taken = op.Quantize(name="quantize", inputs=(INPUT,), output=f"{INPUT}/integers", block=-1)
    read = [replace(one, inputs=tuple(_renamed(name) for name in one.inputs)) for one in split(graph)]  # type: ignore[type-var]  # all are records
    returned = [
        op.Dequantize(name=f"{name}/floats", inputs=(_renamed(value),), output=f"{value}/floats")
        for name, value in graph.outputs.items()
    ]
    made = [name for operator in (taken, *read) for name in operator.made]
    outputs = {name: f"{value}/floats" for name, value in graph.outputs.items()}
    return replace(graph, operators=(taken, *read, *returned), outputs=outputs, quantization=dict.fromkeys(made, anything))


def _renamed(value: str) -> str:
    return f"{INPUT}/integers" if value == INPUT else value


@dataclass(slots=True)
class _Lines:
    """The operators added so far, and the value for each value of the outline."""

    spec: ModelSpec
    outlined: LayerGraph
    operators: list[op.Operator] = field(default_factory=list)
    tensors: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=lambda: {0: INPUT})
    columns: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = _tables(self.outlined)

    def take(self, i: int, layer: Layer) -> None:
        """Add the operators of a layer."""
        shapes, out = self.outlined.shapes, self.outlined.shapes[layer.output]
        inputs = [self.values[value] for value in layer.inputs]
        name = f"{i}: {layer.name}"
        fused: dict[str, Any] = {"activation": layer.activation}  # Any: fields of operators
        match layer.kind:
            case "conv" | "depthwise" | "norm":
                source = shapes[layer.inputs[0]]
                if len(source) == 3:  # rows of attention
                    inputs = [self.add(op.Places, f"{name}/places", inputs, layer.block, size=out[2:])]
                    source = (1, prod(source) // prod(out[2:]), *out[2:])
                made = self.convolution(name, inputs, layer, source)
                if layer.output in self.columns:
                    made = self.add(op.Rows, f"{name}/rows", [made], layer.block, columns=self.columns[layer.output])
            case "linear":
                row = self.add(op.Flatten, f"{name}/flatten", inputs, layer.block)
                made = self.weighted(op.Dense, name, [row], layer.block, (out[1], shapes[layer.inputs[0]][1]), **fused)
            case "pool":
                made = self.add(op.Pool, name, inputs, layer.block, kernel=shapes[layer.inputs[0]][2:])
            case "add":
                made = self.add(op.Add, name, inputs, layer.block, **fused)
            case "multiply":
                made = self.add(op.Multiply, name, inputs, layer.block)
            case "matmul":
                made = self.product(name, inputs, layer)
            case _:
                raise SpecError(f"there is no sketch of a layer of kind '{layer.kind}'")
        self.values[layer.output] = made

    def add(self, operator: type[Any], name: str, inputs: list[str], block: int, **fields: Any) -> str:  # Any: they differ
        """Add an operator, and return its output value."""
        self.operators.append(operator(name=name, inputs=tuple(inputs), output=name, block=block, **fields))
        return name

    def weighted(  # Any: operators and their fields differ
        self, operator: type[Any], name: str, inputs: list[str], block: int, shape: tuple[int, ...], **fields: Any
    ) -> str:
        """Add an operator with weights of this shape, and return its output value."""
        weight, bias = f"{name}/weight", f"{name}/bias"
        self.tensors[weight] = np.broadcast_to(np.float32(0), shape)
        self.tensors[bias] = np.broadcast_to(np.float32(0), shape[:1])
        return self.add(operator, name, inputs, block, weight=weight, bias=bias, **fields)

    def convolution(self, name: str, inputs: list[str], layer: Layer, source: tuple[int, ...]) -> str:
        """Add a convolution; a separate batch norm becomes a 1 x 1 convolution per channel."""
        window = layer.window or Window((1, 1), (1, 1), (1, 1))
        rule = rule_of(self.spec.backbone, layer.kind)
        sides = [(source[2 + i], window.kernel[i], window.stride[i], window.dilation[i], rule) for i in (0, 1)]
        (top, bottom), (left, right) = (margins(*side) for side in sides)
        c_out = self.outlined.elements(layer.output) // prod(side_made(*side) for side in sides)
        deep = layer.kind != "conv"
        return self.weighted(
            op.Depthwise if deep else op.Conv,
            name,
            inputs,
            layer.block,
            (c_out, 1 if deep else source[1], *window.kernel),
            stride=window.stride,
            dilation=window.dilation,
            padding=(top, bottom, left, right),
            activation=layer.activation,
        )

    def product(self, name: str, inputs: list[str], layer: Layer) -> str:
        """Add one of attention's two matrix products: queries times keys with softmax, or the result times values."""
        if layer.activation != "softmax":
            return self.add(op.MatMul, name, inputs, layer.block)
        factor = self.outlined.shapes[layer.inputs[0]][3] ** -0.5
        scores = self.add(op.MatMul, name, inputs, layer.block, transposed=True, factor=factor)
        return self.add(op.Softmax, f"{name}/softmax", [scores], layer.block)


def _tables(outlined: LayerGraph) -> dict[int, int]:
    """The maps that attention reads as matrices, with their number of columns: each query, key and value is a row."""
    columns: dict[int, int] = {}
    for layer in outlined.layers:
        if layer.kind == "matmul" and layer.activation == "softmax":
            columns |= dict.fromkeys(layer.inputs, outlined.shapes[layer.inputs[0]][3])
        elif layer.kind == "matmul":
            columns[layer.inputs[1]] = outlined.shapes[layer.inputs[1]][1]
    return columns

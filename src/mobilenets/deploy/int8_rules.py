"""The rules of the TFLite int8 specification that a quantized graph must follow so that every runtime computes the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mobilenets.deploy import operators as op
from mobilenets.deploy.quantization import SHARE, Quantization
from mobilenets.deploy.shapes import Shape

if TYPE_CHECKING:
    from mobilenets.deploy.graph import Graph

HIGHEST_OF_7_BITS = 64
"""The largest weight with which the sum of two products with 8-bit activations always fits 16 bits: 2 * 255 * 64 < 2**15."""

FUSED: tuple[op.ActivationKind, ...] = ("linear", "relu", "relu6")
"""The activations that can be fused into an int8 operator."""


def weight_bits(graph: Graph) -> int:
    """How many bits the int8 weights of a graph use: 7 if all are within -64 and 64, else 8."""
    weights = [graph.tensors[name] for name in graph.quantization if name in graph.tensors]
    return 7 if all(max(-int(weight.min()), int(weight.max())) <= HIGHEST_OF_7_BITS for weight in weights) else 8


def int8_problems(graph: Graph, shapes: Mapping[str, Shape]) -> Iterator[str]:
    """Messages about violations of the int8 rules in a graph.

    Args:
        graph: a graph whose shapes fit.
        shapes: the shapes of its values.
    """
    known = shapes.keys() | graph.tensors.keys()
    for name, quantization in graph.quantization.items():
        if name not in known:
            yield f"there is a quantization of '{name}', which is no value or weight"
        elif name in shapes and len(quantization.scales) != 1:
            yield f"the value '{name}' has {len(quantization.scales)} scales, but a value has one"
    for operator in graph.operators:
        if isinstance(operator, op.Weighted):
            yield from _weight_problems(graph, operator)
        yield from _value_problems(graph, operator, shapes)


def _weight_problems(graph: Graph, operator: op.Weighted) -> Iterator[str]:
    integers = graph.quantized(operator)
    weight, bias = graph.tensors[operator.weight], graph.tensors[operator.bias]
    kinds = ("int8", "int32") if integers else ("float32", "float32")
    if (weight.dtype.name, bias.dtype.name) != kinds:
        yield f"'{operator.name}' has weights in {weight.dtype} and biases in {bias.dtype}, but needs {' and '.join(kinds)}"
    quantization = graph.quantization.get(operator.weight)
    if (quantization is not None) != integers:
        yield f"'{operator.name}' reads {'integers' if integers else 'floats'}, but its weights are not of that kind"
    elif quantization is not None and (quantization.zero_point or len(quantization.scales) not in (1, len(weight))):
        yield (
            f"the weight '{operator.weight}' has {len(quantization.scales)} scales and the zero point "
            f"{quantization.zero_point}; it must have 1 or {len(weight)} scales and the zero point 0"
        )


def _value_problems(graph: Graph, operator: op.Operator, shapes: Mapping[str, Shape]) -> Iterator[str]:
    read, made = [graph.quantization.get(name) for name in operator.inputs], graph.quantization.get(operator.output)
    match operator:
        case op.Quantize():
            if made is None:
                yield f"'{operator.name}' quantizes, but '{operator.output}' has no quantization"
        case op.Dequantize():
            if made is not None or None in read:
                yield f"'{operator.name}' must read integers and make floats"
        case op.Boxes() | op.Nms():
            if made is not None or any(read):
                yield f"'{operator.name}' computes boxes in floats; a dequantize is missing"
        case op.ArgMax():
            if made is not None:
                yield f"'{operator.name}' makes indices, which have no quantization"
        case _ if made is None and not any(read):
            return
        case _ if made is None or not all(read):
            yield f"'{operator.name}' mixes integers and floats; a quantize or dequantize is missing"
        case _:
            yield from _scale_problems(
                operator, [quantization for quantization in read if quantization is not None], made, shapes
            )


def _scale_problems(
    operator: op.Operator, read: list[Quantization], made: Quantization, shapes: Mapping[str, Shape]
) -> Iterator[str]:
    if getattr(operator, "activation", "linear") not in FUSED:
        yield f"'{operator.name}' fuses an activation that operators on integers cannot; it needs an operator of its own"
    if keeps_scale(operator, shapes) and any(quantization != made for quantization in read):
        yield f"'{operator.name}' keeps the scale of what it reads, but makes another"
    if (isinstance(operator, op.Softmax) or (isinstance(operator, op.Activation) and operator.kind == "sigmoid")) and (
        made != SHARE
    ):
        yield f"'{operator.name}' makes numbers from 0 to 1, whose scale must be 1/256 and whose zero point -128"
    if isinstance(operator, op.MatMul) and operator.factor != 1:
        yield f"'{operator.name}' multiplies integers by {operator.factor:g}; the factor must be in the scales"


def keeps_scale(operator: op.Operator, shapes: Mapping[str, Shape]) -> bool:
    """Whether an operator's output must have the scale of its inputs."""
    if isinstance(operator, op.Pool):
        return shapes[operator.inputs[0]][1:] != operator.kernel
    return isinstance(operator, op.Resize | op.Concat | op.Flatten | op.Rows | op.Places)

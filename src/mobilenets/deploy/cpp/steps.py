"""`step_of`: each operator as a record of the kernels' headers, with the arrays that it needs; one function per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.cpp import packing
from mobilenets.deploy.cpp.heads import HEADS
from mobilenets.deploy.cpp.schedule import Place
from mobilenets.deploy.cpp.step import Context, Record, Step
from mobilenets.deploy.cpp.text import Array, Field, Name
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.integers import Factor
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization
from mobilenets.deploy.reference_int8 import bounds, compute, mean_factor, product_factor, sum_factors, weighted_factor
from mobilenets.errors import GraphError


def step_of(graph: Graph, places: Mapping[str, Place], number: int) -> Step:
    """The step for the operator with this index.

    Raises:
        GraphError: a sum may not fit 32 bits.
    """
    operator = graph.operators[number]
    return _RULES[type(operator)](Context(graph, places, number), operator)


def _convolution(context: Context, operator: op.Conv | op.Dense) -> Step:
    graph, read, made = context.graph, context.places[operator.inputs[0]], context.places[operator.output]
    weight = graph.tensors[operator.weight]
    dilation = operator.dilation if isinstance(operator, op.Conv) else (1, 1)
    numbers = packing.stretches(weight, dilation)
    window: dict[str, Field | None] = {
        "height": read.height,
        "width": read.width,
        "channels": read.channels,
        "out_width": made.width,
    }
    pointwise = True
    if isinstance(operator, op.Conv):
        window |= _moves(operator, weight.shape)
        pointwise = weight.shape[2:] == (1, 1) and operator.stride == (1, 1) and not any(operator.padding)
        window["pointwise"] = pointwise
    panels = -(-len(weight) // packing.PANEL)
    if not graph.quantized(operator):
        arrays, fields = _float_weights(context, operator, packing.float_panels(numbers))
        by: Record = {"outputs": len(weight), "stretches": numbers.shape[1], "inner": numbers.shape[2], **fields}
        record: Record = {"window": window, "by": by, "curve": Name(f"Curve::{operator.activation}")}
        return Step("FloatConvolution", record, panels, arrays, _SCRATCH_FLOATS)
    packed = packing.byte_panels(numbers)
    arrays, fields = _byte_weights(context, operator, packed)
    by = {"outputs": len(weight), "stretches": numbers.shape[1], "inner": packed.shape[2] * packing.DEPTH, **fields}
    zero_point = graph.quantization[operator.inputs[0]].zero_point
    return Step("ByteConvolution", {"window": window, "by": by, "zero_point": zero_point}, panels, arrays, _SCRATCH_BYTES)


def _depthwise(context: Context, operator: op.Depthwise) -> Step:
    graph, read, made = context.graph, context.places[operator.inputs[0]], context.places[operator.output]
    weight = graph.tensors[operator.weight]
    taps, panels = int(np.prod(weight.shape[2:])), -(-len(weight) // packing.PANEL)
    quantization = context.quantization(operator.inputs[0])
    is_bytes = quantization is not None
    moves_by_one = operator.stride == operator.dilation == (1, 1)
    beside = _beside(quantization, panels * packing.PANEL)
    row: Record = {
        "missing": Name(beside.name),
        "width": read.width,
        "out_width": made.width,
        "channels": read.channels,
        "kernel_height": weight.shape[2],
        "kernel_width": weight.shape[3],
        "stride": operator.stride[1],
        "dilation": operator.dilation[1],
        "left": operator.padding[2],
    }
    window: Record = {
        "row": row,
        "height": read.height,
        "stride": operator.stride[0],
        "dilation": operator.dilation[0],
        "top": operator.padding[0],
        "rows_at_once": 2 if moves_by_one and weight.shape[3] in _TILED and not is_bytes else None,
    }
    by: dict[str, Field | None] = {"outputs": len(weight), "inner": taps}
    if is_bytes:
        arrays, fields = _byte_weights(context, operator, packing.byte_taps(weight))
        return Step("ByteDepthwise", {"window": window, "by": {**by, **fields}}, panels, (*arrays, beside), _SCRATCH_WINDOW)
    arrays, fields = _float_weights(context, operator, packing.float_taps(weight))
    record: Record = {"window": window, "by": {**by, **fields}, "curve": Name(f"Curve::{operator.activation}")}
    return Step("FloatDepthwise", record, panels, (*arrays, beside), _SCRATCH_WINDOW)


def _beside(quantization: Quantization | None, channels: int) -> Array:
    """A padding pixel, whose numbers represent 0. Operators share it: of arrays with the same name, the longest is kept."""
    if quantization is None:
        return Array("beside_floats", np.zeros(channels, np.float32).view("V1"), "a place beside a map")
    zero = quantization.zero_point
    name = f"beside_{zero}" if zero >= 0 else f"beside_minus_{-zero}"
    return Array(name, np.full(channels, zero, np.int8).view("V1"), f"a place beside a map, where {zero} stands for 0")


def _moves(operator: op.Conv, shape: tuple[int, ...]) -> dict[str, Field | None]:
    return {
        "kernel_height": shape[2],
        "kernel_width": shape[3],
        "stride_down": operator.stride[0],
        "stride_across": operator.stride[1],
        "dilation_down": operator.dilation[0],
        "dilation_across": operator.dilation[1],
        "top": operator.padding[0],
        "left": operator.padding[2],
    }


def _float_weights(context: Context, operator: op.Weighted, packed: NDArray[Any]) -> tuple[tuple[Array, ...], Record]:
    weights = context.array("weights", packed.astype(np.float32), operator.name)
    bias = context.array("bias", packing.padded(context.graph.tensors[operator.bias]).astype(np.float32))
    clip = operator.activation if operator.activation in _CLIPS else "none"
    return (weights, bias), {"panels": Name(weights.name), "bias": Name(bias.name), "clip": Name(f"Clip::{clip}")}


def _byte_weights(context: Context, operator: op.Weighted, packed: NDArray[Any]) -> tuple[tuple[Array, ...], Record]:
    """The arrays of an int8 operator's weights, and the fields of `ByteWeights` that refer to them."""
    graph = context.graph
    weight, bias = graph.tensors[operator.weight], graph.tensors[operator.bias].astype(np.int64)
    read, made = graph.quantization[operator.inputs[0]], graph.quantization[operator.output]
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    if (abs(bias) + 255 * abs(flat).sum(1)).max() > _LARGEST:
        raise GraphError(f"'{operator.name}' has sums that do not fit into 32 bits")
    by = weighted_factor(read, graph.quantization[operator.weight], made)
    mantissas, shifts = (np.broadcast_to(numbers, len(weight)) for numbers in (by.mantissas, by.shifts))
    low, high = bounds(operator.activation, made)
    arrays = {
        "weights": context.array("weights", packed.astype(np.int8), operator.name),
        "bias": context.array("bias", _integers(bias - read.zero_point * flat.sum(1))),
        "mantissas": context.array("mantissas", _integers(mantissas)),
        "rights": context.array("rights", _integers(np.clip(-shifts, 0, 31))),
    }
    if (shifts > 0).any():
        arrays["lefts"] = context.array("lefts", _integers(np.clip(shifts, 0, 31)))
    fields: dict[str, Field | None] = {
        "panels": Name(arrays["weights"].name),
        "bias": Name(arrays["bias"].name),
        "mantissas": Name(arrays["mantissas"].name),
        "lefts": Name(arrays["lefts"].name) if "lefts" in arrays else None,
        "rights": Name(arrays["rights"].name),
        "zero_point": made.zero_point,
        "low": low,
        "high": high,
    }
    return tuple(arrays.values()), fields


def _integers(numbers: NDArray[Any]) -> NDArray[np.int32]:
    return packing.padded(numbers).astype(np.int32)


def _add(context: Context, operator: op.Add) -> Step:
    made, numbers = context.quantization(operator.output), _numbers(context, operator.output)
    if made is None:
        return Step("FloatAdd", {"numbers": numbers, "curve": Name(f"Curve::{operator.activation}")})
    first, second = (context.graph.quantization[name] for name in operator.inputs)
    factors = sum_factors(first, second, made)
    low, high = bounds(operator.activation, made)
    if int(factors[2].shifts) > 0:
        raise GraphError(f"'{operator.name}' adds numbers whose scale is 2**20 times that of their sum")
    by: Record = {
        "zero_points": (first.zero_point, second.zero_point),
        "to_common": (_shrinking(factors[0]), _shrinking(factors[1])),
        "to_made": _shrinking(factors[2]),
        "zero_point": made.zero_point,
        "low": low,
        "high": high,
    }
    return Step("ByteAdd", {"by": by, "numbers": numbers})


def _multiply(context: Context, operator: op.Multiply) -> Step:
    place, gate = context.places[operator.output], context.places[operator.inputs[1]]
    is_gate = (gate.height, gate.width) != (place.height, place.width)
    places: Record = {"width": place.width, "channels": place.channels, "is_gate": is_gate}
    made = context.quantization(operator.output)
    if made is None:
        return Step("FloatMultiply", {"places": places})
    if curve := _own_gate(context.graph, operator):
        return _table(context, curve, operator)
    first, second = (context.graph.quantization[name] for name in operator.inputs)
    factor = product_factor(first, second, made)
    by: Record = {
        "zero_points": (first.zero_point, second.zero_point),
        "to_made": _shrinking(factor),
        "zero_point": made.zero_point,
    }
    whole: Record = {"mantissa": int(factor.mantissas), "shift": int(factor.shifts)}
    return Step("ByteMultiply", {"places": places, "by": by, "to_made": whole})


def _own_gate(graph: Graph, product: op.Multiply) -> op.Activation | None:
    """The activation that computes the second factor from the first, as in hard swish; the product is then a curve, too."""
    for operator in graph.operators:
        if isinstance(operator, op.Activation) and (*operator.inputs, operator.output) == product.inputs:
            return operator
    return None


def _shrinking(factor: Factor) -> Record:
    return {"mantissa": int(factor.mantissas), "right": max(-int(factor.shifts), 0)}


def _pool(context: Context, operator: op.Pool) -> Step:
    read, made = context.places[operator.inputs[0]], context.places[operator.output]
    window: Record = {
        "height": read.height,
        "channels": read.channels,
        "out_width": made.width,
        "kernel_height": operator.kernel[0],
        "kernel_width": operator.kernel[1],
        "stride_down": operator.stride[0],
        "stride_across": operator.stride[1],
    }
    panels = -(-read.channels // packing.PANEL)
    from_, to = context.quantization(operator.inputs[0]), context.quantization(operator.output)
    if from_ is None or to is None:
        return Step("FloatPool", {"window": window}, panels)
    if operator.kernel != (read.height, read.width):
        return Step("BytePool", {"window": window}, panels)
    by = mean_factor(from_, to, read.height * read.width)
    factor: Record = {"mantissa": int(by.mantissas), "shift": int(by.shifts)}
    return Step("ByteWholePool", {"window": window, "by": factor, "zero_points": (from_.zero_point, to.zero_point)}, panels)


def _activation(context: Context, operator: op.Activation) -> Step:
    if context.quantization(operator.output) is None:
        return Step(
            "FloatActivation", {"numbers": _numbers(context, operator.output), "curve": Name(f"Curve::{operator.kind}")}
        )
    return _table(context, operator)


def _quantize(context: Context, operator: op.Quantize) -> Step:
    made = context.graph.quantization[operator.output]
    if context.quantization(operator.inputs[0]) is not None:
        return _table(context, operator)
    numbers = _numbers(context, operator.output)
    return Step("Quantize", {"numbers": numbers, "scale": made.scale, "zero_point": made.zero_point})


def _table(context: Context, *operators: op.Activation | op.Quantize | op.Multiply) -> Step:
    """A lookup table for all 256 integers, for an operator or for several in sequence that depend on one input."""
    every = [np.arange(LOWEST, HIGHEST + 1, dtype=np.int8)[np.newaxis]]
    for operator in operators:
        every.append(compute(context.graph, operator, every[: len(operator.inputs)]))
    table = context.array("table", every[-1][0], operators[-1].name)
    numbers = _numbers(context, operators[-1].output)
    return Step("ByteTable", {"table": Name(table.name), "numbers": numbers}, arrays=(table,))


def _dequantize(context: Context, operator: op.Dequantize) -> Step:
    read = context.graph.quantization[operator.inputs[0]]
    numbers = _numbers(context, operator.output)
    return Step("Dequantize", {"numbers": numbers, "scale": read.scale, "zero_point": read.zero_point})


def _numbers(context: Context, name: str) -> int:
    place = context.places[name]
    return place.width * place.channels


_LARGEST = 2**31 - 1
_TILED = (3, 5)  # kernel widths for which float kernels compute two rows at once
_CLIPS = ("relu", "relu6", "hard_swish", "hard_sigmoid")
_SCRATCH_FLOATS, _SCRATCH_BYTES, _SCRATCH_WINDOW = (
    "{}.scratch_bytes()",
    "{}.scratch_bytes(kernels)",
    "{}.window.scratch_bytes()",
)
# fmt: off
_RULES: dict[type[op.Operator], Callable[[Context, Any], Step]] = {  # Any: the rule's operator
    op.Conv:       _convolution,
    op.Depthwise:  _depthwise,
    op.Dense:      _convolution,
    op.Add:        _add,
    op.Multiply:   _multiply,
    op.Pool:       _pool,
    op.Activation: _activation,
    op.Quantize:   _quantize,
    op.Dequantize: _dequantize,
    **HEADS,
}
# fmt: on

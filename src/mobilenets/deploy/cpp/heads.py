"""The operators of heads, tails and attention as C++ records: resizing, concatenation, matrix products, softmax, boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import resize_of
from mobilenets.deploy.blends import byte_blends, float_blends
from mobilenets.deploy.cpp.step import Context, Record, Step
from mobilenets.deploy.cpp.text import Array, Name
from mobilenets.deploy.integers import factor
from mobilenets.errors import GraphError
from mobilenets.runtime.detect.nms import float32_below


def _resize(context: Context, operator: op.Resize) -> Step:
    is_bytes = context.quantization(operator.output) is not None
    sides, arrays = _blends(context, operator, is_bytes=is_bytes)
    made = context.places[operator.output]
    fields: Record = {**sides, "width": made.width, "channels": made.channels}
    return Step("ByteResize" if is_bytes else "FloatResize", fields, arrays=arrays)


def _blends(context: Context, operator: op.Resize, *, is_bytes: bool) -> tuple[dict[str, Record], tuple[Array, ...]]:
    """The records of the vertical and the horizontal interpolation, and the arrays that they refer to."""
    read, made = context.places[operator.inputs[0]], context.places[operator.output]
    blends_of, number = (byte_blends, np.int32) if is_bytes else (float_blends, np.float32)
    arrays: list[Array] = []
    sides: dict[str, Record] = {}
    for side, length, new in (("down", read.height, made.height), ("across", read.width, made.width)):
        blends = blends_of(length, new, operator.coordinates)
        places = context.array(f"{side}_places", blends.places.astype(np.int32), operator.name)
        weights = context.array(f"{side}_weights", blends.weights.astype(number))
        arrays += [places, weights]
        sides[side] = {"places": Name(places.name), "weights": Name(weights.name)}
    return sides, tuple(arrays)


def _concat(context: Context, operator: op.Concat) -> Step:
    read, made = [context.places[name] for name in operator.inputs], context.places[operator.output]
    if len(context.graph.shapes()[operator.output]) == 2:
        heights = context.array("heights", np.array([place.height for place in read], np.int32), operator.name)
        return Step("ConcatTables", {"heights": Name(heights.name), "row_bytes": made.row_bytes}, arrays=(heights,))
    place_bytes = np.array([place.row_bytes // place.width for place in read], np.int32)
    sizes = context.array("place_bytes", place_bytes, operator.name)
    fields: Record = {"width": made.width, "inputs": len(read), "place_bytes": Name(sizes.name)}
    return Step("ConcatMaps", fields, arrays=(sizes,))


def _argmax(context: Context, operator: op.ArgMax) -> Step:
    read = context.places[operator.inputs[0]]
    large = resize_of(context.graph, operator)
    if large is not None:
        sides, arrays = _blends(context, large, is_bytes=False)
        small = context.places[large.inputs[0]]
        fields: Record = {**sides, "read_width": small.width, "width": read.width, "channels": read.channels}
        return Step("LargestOfLarge", fields, arrays=arrays, scratch="{}.scratch_bytes()", reads=large.inputs)
    number = "float" if context.quantization(operator.inputs[0]) is None else "std::int8_t"
    return Step(f"ArgMax<{number}>", {"width": read.width, "channels": read.channels})


def _matmul(context: Context, operator: op.MatMul) -> Step:
    inner = context.places[operator.inputs[0]].channels
    columns = context.places[operator.output].channels
    tables: Record = {"inner": inner, "columns": columns, "transposed": operator.transposed}
    made = context.quantization(operator.output)
    if made is None:
        return Step("FloatMatMul", {"tables": tables, "factor": float(operator.factor)})
    if inner * _LARGEST_PRODUCT > _LARGEST:
        raise GraphError(f"'{operator.name}' has sums that do not fit into 32 bits")
    first, second = (context.graph.quantization[name] for name in operator.inputs)
    by = factor(first.scale * second.scale / made.scale)
    fields: Record = {
        "tables": tables,
        "zero_points": (first.zero_point, second.zero_point),
        "by": {"mantissa": int(by.mantissas), "shift": int(by.shifts)},
        "zero_point": made.zero_point,
    }
    return Step("ByteMatMul", fields)


def _softmax(context: Context, operator: op.Softmax) -> Step:
    columns = context.places[operator.output].channels
    read, made = context.quantization(operator.inputs[0]), context.quantization(operator.output)
    if read is None or made is None:
        return Step("FloatSoftmax", {"columns": columns})
    fields: Record = {
        "columns": columns,
        "scale": read.scale,
        "made_scale": made.scale,
        "zero_point": read.zero_point,
        "made_zero_point": made.zero_point,
    }
    return Step("ByteSoftmax", fields, scratch="{}.scratch_bytes()")


def _boxes(context: Context, operator: op.Boxes) -> Step:
    height, width = map(float, operator.size)
    anchors = context.array("anchors", context.graph.tensors[operator.anchors].astype(np.float32), operator.name)
    variances = tuple(map(float, operator.variances))
    fields: Record = {"anchors": Name(anchors.name), "variances": variances, "height": height, "width": width}
    return Step("Boxes", fields, arrays=(anchors,))


def _nms(context: Context, operator: op.Nms) -> Step:
    limits = context.graph.tensors[operator.thresholds].astype(np.float32)
    thresholds = context.array("thresholds", limits, operator.name)
    fields: Record = {
        "thresholds": Name(thresholds.name),
        "classes": len(limits),
        "first": operator.first,
        "anchors": context.places[operator.inputs[0]].height,
        "candidates": operator.candidates,
        "places": context.places[operator.made[0]].height,
        "at_most": float(float32_below(operator.iou)),
    }
    return Step("Nms", fields, arrays=(thresholds,), scratch="{}.scratch_bytes()")


_LARGEST, _LARGEST_PRODUCT = 2**31 - 1, 255 * 255

# fmt: off
HEADS: dict[type[op.Operator], Callable[[Context, Any], Step]] = {  # Any: the rule's operator
    op.Resize:  _resize,
    op.Concat:  _concat,
    op.ArgMax:  _argmax,
    op.MatMul:  _matmul,
    op.Softmax: _softmax,
    op.Boxes:   _boxes,
    op.Nms:     _nms,
}
# fmt: on
"""The function that writes each kind of operator."""

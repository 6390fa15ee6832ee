"""Reads a TFLite file as a `Graph`; `weights.graphs` finds out which network it is."""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

import numpy as np

from mobilenets.errors import WeightsError
from mobilenets.weights.graphs.graph import Graph, GraphTensor, Operator
from mobilenets.weights.guards import bounded_bytes
from mobilenets.weights.tflite.flatbuffer import FlatTable

# fmt: off
OPERATORS = {  # from tensorflow/compiler/mlir/lite/schema/schema.fbs: the codes of operators that occur in networks
    0:  "ADD",      1:  "AVERAGE_POOL_2D",   2:  "CONCATENATION",   3:  "CONV_2D",          4:   "DEPTHWISE_CONV_2D",
    6:  "DEQUANTIZE", 9: "FULLY_CONNECTED",  14: "LOGISTIC",        17: "MAX_POOL_2D",      18:  "MUL",
    19: "RELU",     21: "RELU6",             22: "RESHAPE",         23: "RESIZE_BILINEAR",  25:  "SOFTMAX",
    34: "PAD",      37: "BATCH_TO_SPACE_ND", 38: "SPACE_TO_BATCH_ND", 40: "MEAN",           41:  "SUB",
    42: "DIV",      43: "SQUEEZE",           53: "CAST",            56: "ARG_MAX",          114: "QUANTIZE",
    117: "HARD_SWISH", 69: "TILE",           28: "TANH",            32: "CUSTOM",           39:  "TRANSPOSE",
    45: "STRIDED_SLICE", 54: "PRELU",        67: "TRANSPOSE_CONV",  82: "REDUCE_MAX",       83:  "PACK",
    97: "RESIZE_NEAREST_NEIGHBOR",           98: "LEAKY_RELU",      111: "ELU",             126: "BATCH_MATMUL", 150: "GELU",
}
OPTIONS = {  # operator: its options as (name, index in the schema, struct character, default)
    "CONV_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("stride_w", 1, "i", 0), ("activation", 3, "b", 0),
                ("dilation", 5, "i", 1), ("dilation_w", 4, "i", 1)),
    "DEPTHWISE_CONV_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("stride_w", 1, "i", 0), ("multiplier", 3, "i", 0),
                          ("activation", 4, "b", 0), ("dilation", 6, "i", 1), ("dilation_w", 5, "i", 1)),
    "FULLY_CONNECTED": (("activation", 0, "b", 0),),
    "AVERAGE_POOL_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("height", 4, "i", 0), ("activation", 5, "b", 0)),
    "ADD": (("activation", 0, "b", 0),),
    "MUL": (("activation", 0, "b", 0),),
    "SUB": (("activation", 0, "b", 0),),
    "DIV": (("activation", 0, "b", 0),),
    "SOFTMAX": (("beta", 0, "f", 1.0),),
    "GELU": (("approximate", 0, "?", 0),),
    "RESIZE_BILINEAR": (("align_corners", 2, "b", 0), ("half_pixel_centers", 3, "b", 0)),
}
TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 9: "i1"}
MOST = 100_000
"""Maximum number of tensors, operators or buffers in a file; a MobileNet has some hundreds."""
_CUSTOM = 32
LARGEST_BYTES = 1 << 30
"""Maximum size of a file; the largest MobileNet has 0.2 GB."""
# fmt: on


def read_graph(path: Path) -> Graph:
    """The main graph of a TFLite file.

    Raises:
        WeightsError: it cannot be read or is not a TFLite file.
    """
    data = bounded_bytes(path, LARGEST_BYTES)
    if data[4:8] != b"TFL3":
        raise WeightsError(f"'{path}' is not a TFLite file: it lacks the mark 'TFL3'")
    try:
        return _graph(FlatTable.root(data), str(path))
    except (struct.error, ValueError, IndexError, KeyError, OverflowError) as error:
        raise WeightsError(f"'{path}' is damaged or cut off: {error}", hint="download it again") from error


def _graph(model: FlatTable, origin: str) -> Graph:
    codes = [_kind(code) for code in islice(model.tables(1), MOST)]
    buffers = list(islice(model.tables(4), MOST))
    main = next(iter(model.tables(2)), None)
    if main is None:
        raise ValueError("no graph in it")
    tensors, operators = list(islice(main.tables(0), MOST)), list(islice(main.tables(3), MOST))
    return Graph(
        origin,
        tuple(_tensor(table, buffers) for table in tensors),
        tuple(_operator(table, codes) for table in operators),
        _indices(main, 1),
        _indices(main, 2),
    )


def _kind(code: FlatTable) -> str:
    """The name of an operator; a custom operator has its own."""
    number = max(code.scalar(0, "b"), code.scalar(3, "i"))
    own = code.string(1)[:60] if number == _CUSTOM else ""
    return f"custom operator '{own}'" if own else OPERATORS.get(number, f"operator {number}")


def _tensor(table: FlatTable, buffers: list[FlatTable]) -> GraphTensor:
    shape = tuple(int(side) for side in table.array(0, "<i4"))
    raw = buffers[table.scalar(2, "I")].array(0, "u1")
    kind = table.scalar(1, "b")
    dtype = TYPES.get(kind, "")
    stored = None
    if len(raw):
        if not dtype:
            raise ValueError(f"tensor '{table.string(3)[:60]}' has values of type {kind}")
        stored = raw.view(dtype).reshape(shape)
    quantization = table.table(4)
    scale = quantization.array(2, "<f4") if quantization else np.zeros(0, np.float32)
    zero_point = quantization.array(3, "<i8") if quantization else np.zeros(0, np.int64)
    if not np.isfinite(scale).all() or (len(scale) > 1 and len(scale) not in shape):
        raise ValueError(f"tensor '{table.string(3)[:60]}' has scales that do not fit it")
    if len(zero_point) != len(scale):
        zero_point = np.zeros(len(scale), np.int64)
    axis = quantization.scalar(6, "i") if quantization else 0
    return GraphTensor(table.string(3)[:200], shape, dtype, scale, zero_point, axis, stored)


def _operator(table: FlatTable, codes: list[str]) -> Operator:
    kind = codes[table.scalar(0, "I")]
    options = table.table(4)
    values = {
        name: options.scalar(slot, letter, default) if options else default
        for name, slot, letter, default in OPTIONS.get(kind, ())
    }
    return Operator(kind, _indices(table, 1), _indices(table, 2), values)


def _indices(table: FlatTable, slot: int) -> tuple[int, ...]:
    return tuple(int(i) for i in table.array(slot, "<i4"))

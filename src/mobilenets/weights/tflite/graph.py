"""A TFLite file as tensors and operators, whatever network it holds; the task of telling which lies with `tflite`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation
from mobilenets.weights.tflite.flatbuffer import FlatTable

# fmt: off
OPERATORS = {  # of tensorflow/compiler/mlir/lite/schema/schema.fbs: the codes that a network's graph can hold
    0:  "ADD",      1:  "AVERAGE_POOL_2D",   2:  "CONCATENATION",   3:  "CONV_2D",          4:   "DEPTHWISE_CONV_2D",
    6:  "DEQUANTIZE", 9: "FULLY_CONNECTED",  14: "LOGISTIC",        17: "MAX_POOL_2D",      18:  "MUL",
    19: "RELU",     21: "RELU6",             22: "RESHAPE",         23: "RESIZE_BILINEAR",  25:  "SOFTMAX",
    34: "PAD",      37: "BATCH_TO_SPACE_ND", 38: "SPACE_TO_BATCH_ND", 40: "MEAN",           41:  "SUB",
    42: "DIV",      43: "SQUEEZE",           53: "CAST",            56: "ARG_MAX",          114: "QUANTIZE",
    117: "HARD_SWISH",
}
OPTIONS = {  # operator: its options as (name, place in the schema, struct letter, default)
    "CONV_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("stride_w", 1, "i", 0), ("activation", 3, "b", 0),
                ("dilation", 5, "i", 1)),
    "DEPTHWISE_CONV_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("stride_w", 1, "i", 0), ("multiplier", 3, "i", 0),
                          ("activation", 4, "b", 0), ("dilation", 6, "i", 1)),
    "FULLY_CONNECTED": (("activation", 0, "b", 0),),
    "AVERAGE_POOL_2D": (("padding", 0, "b", 0), ("stride", 2, "i", 0), ("height", 4, "i", 0), ("activation", 5, "b", 0)),
    "ADD": (("activation", 0, "b", 0),),
    "MUL": (("activation", 0, "b", 0),),
    "RESIZE_BILINEAR": (("align_corners", 2, "b", 0), ("half_pixel_centers", 3, "b", 0)),
}
TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 9: "i1"}
PADDINGS = ("SAME", "VALID")
ACTIVATIONS: dict[int, Activation] = {0: "linear", 1: "relu", 3: "relu6"}
# fmt: on


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """A tensor of the graph, constant or not.

    Args:
        name: as the file has it, for messages.
        shape: N H W C for images.
        dtype: NumPy's name of its type, "u1" for 8 bits without sign; "" for a type that networks do not have.
        scale: of each channel along `axis`, or one for all; empty when not quantized.
        zero_point: the stored value that means 0, as many as scales.
        axis: of per-channel scales.
        stored: the constant as the file holds it, None for what the network computes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    stored: NDArray[np.generic] | None

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return self.stored is not None

    def values(self) -> NDArray[np.float32]:
        """The constant, de-quantized: `(stored - zero_point) * scale`, per tensor or per channel.

        Raises:
            WeightsError: the network computes this tensor.
        """
        if self.stored is None:
            raise WeightsError(f"tensor '{self.name}' is no constant")
        if not len(self.scale):
            return self.stored.astype(np.float32)
        shape = [1] * self.stored.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        whole = self.stored.astype(np.float64) - self.zero_point.reshape(shape or [1])
        values: NDArray[np.float32] = (whole * self.scale.reshape(shape or [1]).astype(np.float64)).astype(np.float32)
        return values.reshape(self.stored.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Args:
        kind: a name of `OPERATORS`, or its code as text.
        inputs, outputs: indices into the graph's tensors; -1 for an input that is left out.
        options: by name, as `OPTIONS` lists them.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Graph:
    """The main graph of a file, its operators in the order they run.

    Args:
        origin: the file, for messages.
    """

    origin: str
    tensors: tuple[GraphTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(path: Path) -> Graph:
    """The main graph of a TFLite file.

    Raises:
        WeightsError: it cannot be read or is no TFLite file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read '{path}': {error.strerror or error}") from error
    if data[4:8] != b"TFL3":
        raise WeightsError(f"'{path}' is no TFLite file: it lacks the mark 'TFL3'")
    try:
        return _graph(FlatTable.root(data), str(path))
    except (struct.error, ValueError, IndexError, KeyError, OverflowError) as error:
        raise WeightsError(f"'{path}' is damaged or cut off: {error}", hint="download it again") from error


def _graph(model: FlatTable, origin: str) -> Graph:
    codes = [max(code.scalar(0, "b"), code.scalar(3, "i")) for code in model.tables(1)]
    buffers = list(model.tables(4))
    main = next(iter(model.tables(2)), None)
    if main is None:
        raise ValueError("no graph in it")
    return Graph(
        origin,
        tuple(_tensor(table, buffers) for table in main.tables(0)),
        tuple(_operator(table, codes) for table in main.tables(3)),
        _indices(main, 1),
        _indices(main, 2),
    )


def _tensor(table: FlatTable, buffers: list[FlatTable]) -> GraphTensor:
    shape = tuple(int(side) for side in table.array(0, "<i4"))
    raw = buffers[table.scalar(2, "I")].array(0, "u1")
    kind = table.scalar(1, "b")
    dtype = TYPES.get(kind, "")
    stored = None
    if len(raw):
        if not dtype:
            raise ValueError(f"tensor '{table.string(3)}' has values of type {kind}")
        stored = np.frombuffer(raw.tobytes(), dtype).reshape(shape)
    quantization = table.table(4)
    scale = quantization.array(2, "<f4") if quantization else np.zeros(0, np.float32)
    zero_point = quantization.array(3, "<i8") if quantization else np.zeros(0, np.int64)
    if len(zero_point) != len(scale):
        zero_point = np.zeros(len(scale), np.int64)
    axis = quantization.scalar(6, "i") if quantization else 0
    return GraphTensor(table.string(3), shape, dtype, scale, zero_point, axis, stored)


def _operator(table: FlatTable, codes: list[int]) -> Operator:
    code = codes[table.scalar(0, "I")]
    kind = OPERATORS.get(code, f"operator {code}")
    options = table.table(4)
    values = {
        name: options.scalar(slot, letter, default) if options else default
        for name, slot, letter, default in OPTIONS.get(kind, ())
    }
    return Operator(kind, _indices(table, 1), _indices(table, 2), values)


def _indices(table: FlatTable, slot: int) -> tuple[int, ...]:
    return tuple(int(i) for i in table.array(slot, "<i4"))

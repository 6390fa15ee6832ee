"""`read_tflite`: reads the graph back from a TFLite file that `write_tflite` wrote, operator by operator."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.reading import FUSING, block_of, refuse_quantized
from mobilenets.deploy.shapes import Shape, shapes_of
from mobilenets.deploy.write_tflite import same_margins
from mobilenets.errors import CheckpointError, GraphError, MissingExtraError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

_LINEAR = "/linear"  # suffix of the value that an activation is applied to
_NO_MARGINS: op.Margins = (0, 0, 0, 0)


def read_tflite(path: Path) -> Graph:
    """The graph that an exported TFLite file was written from; 16-bit weights are converted to 32 bits.

    Raises:
        CheckpointError: the file has no manifest.
        GraphError: the file is damaged, comes from elsewhere, is already quantized, or decodes its outputs itself.
        MissingExtraError: ai-edge-litert, which has the schema, is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    try:
        data = path.read_bytes()
        if data[4:8] != b"TFL3":
            raise ValueError("it lacks the mark 'TFL3'")
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        texts = {entry.name: model.buffers[entry.buffer].data for entry in model.metadata or ()}
    except (OSError, ValueError, TypeError, struct.error, IndexError, AttributeError) as error:
        raise GraphError(f"'{path}' cannot be read as TFLite: {error}", hint="export the model again") from error
    text = texts.get(METADATA_KEY.encode())
    if text is None:
        raise CheckpointError(
            f"'{path}' has no '{METADATA_KEY}' metadata, which names its labels and says how images are preprocessed",
            hint="'mobilenets convert' makes a checkpoint of TFLite files from elsewhere",
        )
    manifest = Manifest.from_json(bytes(text))
    refuse_quantized(path, manifest)
    try:
        reader = _Reader(model, manifest, schema)
        for operator in model.subgraphs[0].operators:
            reader.take(operator)
        outputs = {entry.name.decode(): reader.names[entry.tensorIndex] for entry in model.signatureDefs[0].outputs}
        graph = Graph(replace(manifest, precision="float32"), tuple(reader.operators), reader.tensors, outputs)
        graph.check()
    except (GraphError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise GraphError(
            f"'{path}' is not a network that can be read back: {error}",
            hint="give the run, or a float file that 'mobilenets export' wrote without --nms or --argmax",
        ) from error
    return graph


class _Reader:
    """Collects the operators of a file, whose tensors are identified by index."""

    def __init__(self, model: Any, manifest: Manifest, schema: ModuleType) -> None:  # Any: the schema has no types
        self.model, self.graph, self.schema = model, model.subgraphs[0], schema
        self.kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        self.shapes: dict[str, Shape] = {INPUT: (manifest.input.channels, *manifest.input.shape)}
        self.names: dict[int, str] = {self.graph.inputs[0]: INPUT}  # of the values of the graph
        self.operators: list[op.Operator] = []
        self.tensors: dict[str, NDArray[Any]] = {}  # Any: floats
        self.halves: dict[int, int] = {}  # a weight: the stored 16-bit tensor that it is converted from
        self.pads: dict[int, tuple[int, op.Margins]] = {}
        self.factors: dict[int, tuple[int, float]] = {}
        self.cuts: dict[int, int] = {}  # relu6(x + 3): x

    def take(self, operator: Any) -> None:  # Any: as above
        """Read the next operator.

        Raises:
            GraphError: the writer never writes such an operator.
        """
        code = self.model.operatorCodes[operator.opcodeIndex]
        kind = self.kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if kind not in _READERS:
            raise GraphError(f"it has the operator {kind}")
        _READERS[kind](self, [int(i) for i in operator.inputs], int(operator.outputs[0]), operator.builtinOptions)

    def constant(self, index: int) -> NDArray[Any] | None:  # Any: floats or integers
        """The numbers of a tensor that is stored in the file; None for one that an operator produces."""
        tensor = self.graph.tensors[self.halves.get(index, index)]
        stored = self.model.buffers[tensor.buffer].data
        if stored is None or not len(stored):
            return None
        kinds = self.schema.TensorType
        kind = {kinds.FLOAT32: "<f4", kinds.FLOAT16: "<f2", kinds.INT32: "<i4"}[tensor.type]
        return np.asarray(stored, np.uint8).view(kind).reshape([int(side) for side in tensor.shape])

    def stored(self, index: int) -> NDArray[Any]:  # Any: as above
        """The numbers of a tensor that must be stored in the file.

        Raises:
            GraphError: an operator computes the tensor.
        """
        values = self.constant(index)
        if values is None:
            raise GraphError(f"'{self.name(index)}' is computed, but should be stored")
        return values

    def name(self, index: int) -> str:
        """The name of a tensor in the file."""
        text: str = self.graph.tensors[index].name.decode()
        return text

    def add(
        self, kind: Callable[..., op.Operator], made: int, inputs: Sequence[int], /, **fields: Any
    ) -> None:  # Any: they differ
        """Append an operator, named after its output."""
        name = self.name(made)
        plain = name.removesuffix(_LINEAR)
        reads = tuple(self.names[i] for i in inputs)
        operator = kind(name=plain, inputs=reads, output=name, block=block_of(plain), **fields)
        [self.shapes[name]] = shapes_of(operator, [self.shapes[value] for value in reads], self.tensors)
        self.names[made] = name
        self.operators.append(operator)

    def weighted(
        self, kind: Callable[..., op.Operator], made: int, inputs: Sequence[int], axes: Sequence[int], **fields: Any
    ) -> None:  # Any: they differ
        """Append an operator with weights, whose axes are transposed to the order of the graph."""
        source, *weights = inputs
        weight, bias = (self.name(i) for i in weights)
        self.tensors[weight] = np.ascontiguousarray(self.stored(weights[0]).transpose(axes), np.float32)
        self.tensors[bias] = np.ascontiguousarray(self.stored(weights[1]), np.float32)
        self.add(kind, made, [source], weight=weight, bias=bias, **fields)

    def activate(self, made: int, kind: op.NonLinear, source: int) -> None:
        """Fuse an activation into the operator that it was split from, or append it as an operator of its own."""
        name = self.name(made)
        last = self.operators[-1] if self.operators else None
        if isinstance(last, FUSING) and last.output == self.names[source] == f"{name}{_LINEAR}":
            self.operators[-1] = replace(last, output=name, activation=kind)
            self.shapes[name], self.names[made] = self.shapes[last.output], name
        else:
            self.add(op.Activation, made, [source], kind=kind)

    def fused(self, options: Any) -> op.ActivationKind:  # Any: as above
        """The fused activation of an operator in the file.

        Raises:
            GraphError: the writer never writes this activation.
        """
        kinds = self.schema.ActivationFunctionType
        known: dict[int, op.ActivationKind] = {kinds.NONE: "linear", kinds.RELU: "relu", kinds.RELU6: "relu6"}
        if options.fusedActivationFunction not in known:
            raise GraphError(f"it has the fused activation {options.fusedActivationFunction}")
        return known[options.fusedActivationFunction]


def _window(reader: _Reader, source: int, kernel: Sequence[int], options: Any) -> tuple[int, dict[str, Any]]:  # Any: as above
    """The input of a convolution before padding, and the fields of its window."""
    window: dict[str, Any] = {  # Any: fields of a convolution
        "stride": (options.strideH, options.strideW),
        "dilation": (options.dilationHFactor, options.dilationWFactor),
        "activation": reader.fused(options),
    }
    padded, margins = reader.pads.get(source, (source, _NO_MARGINS))
    if options.padding == reader.schema.Padding.SAME:
        plain = op.Conv(name="", inputs=(), output="", weight="", bias="", stride=window["stride"], dilation=window["dilation"])
        margins = same_margins(reader.shapes[reader.names[padded]][1:], kernel, plain)
    return padded, {**window, "padding": margins}


def _conv(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    source, window = _window(reader, inputs[0], reader.stored(inputs[1]).shape[1:3], options)
    reader.weighted(op.Conv, made, [source, *inputs[1:]], (0, 3, 1, 2), **window)


def _depthwise(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    source, window = _window(reader, inputs[0], reader.stored(inputs[1]).shape[1:3], options)
    reader.weighted(op.Depthwise, made, [source, *inputs[1:]], (3, 0, 1, 2), **window)


def _dense(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    reader.weighted(op.Dense, made, inputs, (0, 1), activation=reader.fused(options))


def _pad(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    _, (top, bottom), (left, right), _ = reader.stored(inputs[1]).tolist()
    reader.pads[made] = (inputs[0], (top, bottom, left, right))


def _add(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    if reader.constant(inputs[1]) is not None:  # x + 3 of hard sigmoid
        reader.cuts[made] = inputs[0]
    else:
        reader.add(op.Add, made, inputs, activation=reader.fused(options))


def _multiply(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    factor = reader.constant(inputs[1])
    if factor is None:
        reader.add(op.Multiply, made, inputs)
    elif inputs[0] in reader.cuts:
        reader.activate(made, "hard_sigmoid", reader.cuts[inputs[0]])
    else:
        reader.factors[made] = (inputs[0], float(factor[0]))


def _mean(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    reader.add(op.Pool, made, inputs[:1], kernel=reader.shapes[reader.names[inputs[0]]][1:])


def _pool(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    kernel, stride = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    reader.add(op.Pool, made, inputs, kernel=kernel, stride=stride)


def _resize(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    height, width = reader.stored(inputs[1]).tolist()
    coordinates = "align_corners" if options.alignCorners else "half_pixel"
    reader.add(op.Resize, made, inputs[:1], size=(height, width), coordinates=coordinates)


def _concat(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    reader.add(op.Concat, made, inputs)


def _reshape(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    sides, source = [int(side) for side in reader.graph.tensors[made].shape], inputs[:1]
    if len(sides) == 4:
        reader.add(op.Places, made, source, size=(sides[1], sides[2]))
    elif len(sides) == 3:
        reader.add(op.Rows, made, source, columns=sides[2])
    else:
        reader.add(op.Flatten, made, source)


def _matmul(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    first, factor = reader.factors.get(inputs[0], (inputs[0], 1.0))
    reader.add(op.MatMul, made, [first, inputs[1]], transposed=bool(options.adjY), factor=factor)


def _softmax(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    reader.add(op.Softmax, made, inputs)


def _dequantize(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
    reader.stored(inputs[0])
    reader.halves[made] = inputs[0]


def _activation(kind: op.NonLinear) -> Callable[[_Reader, list[int], int, Any], None]:  # Any: as above
    def read(reader: _Reader, inputs: list[int], made: int, options: Any) -> None:  # Any: as above
        reader.activate(made, kind, inputs[0])

    return read


# fmt: off
_READERS: dict[str, Callable[[_Reader, list[int], int, Any], None]] = {  # Any: as above
    "CONV_2D":           _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED":   _dense,
    "PAD":               _pad,
    "ADD":               _add,
    "MUL":               _multiply,
    "MEAN":              _mean,
    "AVERAGE_POOL_2D":   _pool,
    "RESIZE_BILINEAR":   _resize,
    "CONCATENATION":     _concat,
    "RESHAPE":           _reshape,
    "BATCH_MATMUL":      _matmul,
    "SOFTMAX":           _softmax,
    "DEQUANTIZE":        _dequantize,
    "RELU":              _activation("relu"),
    "RELU6":             _activation("relu6"),
    "HARD_SWISH":        _activation("hard_swish"),
    "LOGISTIC":          _activation("sigmoid"),
    "GELU":              _activation("gelu"),
}
# fmt: on

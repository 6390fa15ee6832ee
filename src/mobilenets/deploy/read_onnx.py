"""`read_onnx`: reads the graph back from an ONNX file that `write_onnx` wrote, operator by operator.

The writer needs several nodes for some operators, such as a layout change or GELU. The reader remembers these nodes as parts
until it reads the last one.

Int8 operators are written as float nodes between conversions (QDQ). The reader skips the conversion back to floats and makes
an operator int8 if its result is quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.reading import FUSING, block_of
from mobilenets.deploy.shapes import Shape, shapes_of
from mobilenets.errors import CheckpointError, GraphError, MissingExtraError
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

_LINEAR = "/linear"  # suffix of the value that an activation is applied to
_MADE = "/made"  # suffix of the floats that are quantized to an int8 value
_UNSIGNED = 128  # the writer added this to signed 8-bit integers


def read_onnx(path: Path) -> Graph:
    """The graph that an exported ONNX file was written from.

    Raises:
        CheckpointError: the file has no manifest.
        GraphError: the file is damaged, comes from elsewhere, or decodes its outputs itself.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    try:
        model = onnx.load(path)
    except (OSError, DecodeError, ValueError) as error:
        raise GraphError(f"'{path}' cannot be read as ONNX: {error}", hint="export the model again") from error
    text = next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)
    if text is None:
        raise CheckpointError(
            f"'{path}' has no '{METADATA_KEY}' metadata, which names its labels and says how images are preprocessed",
            hint="give a file that 'mobilenets export' wrote",
        )
    manifest = Manifest.from_json(text)
    try:
        reader = _Reader(model.graph, manifest)
        for node in model.graph.node:
            reader.take(node)
        operators = tuple(_converted(reader.operators, reader.quantization))
        graph = Graph(manifest, operators, reader.tensors, reader.outputs, reader.quantization)
        graph.check()
    except (GraphError, KeyError, IndexError, ValueError, TypeError) as error:
        raise GraphError(
            f"'{path}' is not a network that can be read back: {error}",
            hint="give the run, or a file that 'mobilenets export' wrote without --nms or --argmax",
        ) from error
    return graph


class _Reader:
    """Collects the operators of a file."""

    def __init__(self, graph: Any, manifest: Manifest) -> None:  # Any: protobuf messages
        from onnx import numpy_helper

        self.shapes: dict[str, Shape] = {INPUT: (manifest.input.channels, *manifest.input.shape)}
        self.constants: dict[str, NDArray[Any]] = {
            entry.name: numpy_helper.to_array(entry) for entry in graph.initializer
        }  # Any: floats and integers
        self.results = {entry.name for entry in graph.output}
        self.operators: list[op.Operator] = []
        self.tensors: dict[str, NDArray[Any]] = {}
        self.outputs: dict[str, str] = {}
        self.parts: dict[str, tuple[Any, ...]] = {}  # Any: the kind of part, and the value it is a part of
        self.reals: dict[str, str] = {}  # floats: the integers that they were converted from
        self.stored: dict[str, Quantization] = {}  # of weights
        self.quantization: dict[str, Quantization] = {}

    def take(self, node: Any) -> None:  # Any: as above
        """Read the next node.

        Raises:
            GraphError: the writer never writes such a node.
        """
        if node.op_type not in _READERS:
            raise GraphError(f"it has the operator {node.op_type}")
        _READERS[node.op_type](self, node, _attributes(node))

    def add(
        self, kind: Callable[..., op.Operator], node: Any, inputs: Sequence[str], /, **fields: Any
    ) -> None:  # Any: as above
        """Append an operator, named after its output."""
        name = node.output[0]
        plain = name.removesuffix(_MADE)
        read = tuple(self.reals.get(value, value) for value in inputs)
        operator = kind(name=plain, inputs=read, output=name, block=block_of(plain), **fields)
        [self.shapes[name]] = shapes_of(operator, [self.shapes[value] for value in read], self.tensors)
        self.operators.append(operator)

    def weighted(self, kind: Callable[..., op.Operator], node: Any, **fields: Any) -> None:  # Any: as above
        """Append an operator with weights."""
        source, weight, bias = node.input
        for name in (weight, bias):
            self.tensors[name] = self.constants[name]
        if weight in self.stored:
            self.quantization[weight] = self.stored[weight]
        self.add(kind, node, [source], weight=weight, bias=bias, **fields)

    def activate(self, node: Any, kind: op.NonLinear, source: str) -> None:  # Any: as above
        """Fuse an activation into the operator that it was split from, or append it as an operator of its own."""
        name = node.output[0]
        if self.parts.get(source, ("",))[0] == "shifted":  # the clipping of hard sigmoid
            self.parts[name] = self.parts[source]
            return
        last = self.operators[-1] if self.operators else None
        if isinstance(last, FUSING) and last.output == source == f"{name}{_LINEAR}":
            plain = name.removesuffix(_MADE)
            self.operators[-1] = replace(last, name=plain, output=name, activation=kind)
            self.shapes[name] = self.shapes[source]
        else:
            self.add(op.Activation, node, [source], kind=kind)


def _attributes(node: Any) -> dict[str, Any]:  # Any: as above
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _conv(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    top, left, bottom, right = given["pads"]
    kind = op.Depthwise if given.get("group", 1) > 1 else op.Conv
    window = {"stride": tuple(given["strides"]), "dilation": tuple(given["dilations"]), "padding": (top, bottom, left, right)}
    reader.weighted(kind, node, **window)


def _gemm(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.weighted(op.Dense, node)


def _add(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    first, second = node.input
    if second in reader.constants:  # erf + 1 of GELU, x + 3 of hard sigmoid
        reader.parts[node.output[0]] = reader.parts.get(first, ("shifted", first))
    else:
        reader.add(op.Add, node, [first, second])


def _mul(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    first, second = node.input
    made = node.output[0]
    last = reader.operators[-1] if reader.operators else None
    if second in reader.constants and isinstance(last, op.MatMul) and last.output == first == f"{made}/product":
        factor = float(reader.constants[second])
        reader.operators[-1] = replace(last, name=made, output=made, factor=factor, block=block_of(made))
        reader.shapes[made] = reader.shapes[first]
    elif second in reader.constants:  # x / sqrt(2) and x / 2 of GELU
        reader.parts[made] = ("gelu", first)
    elif first in reader.parts:
        reader.activate(node, "gelu", reader.parts[first][1])
    else:
        reader.add(op.Multiply, node, [first, second])


def _erf(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.parts[node.output[0]] = reader.parts[node.input[0]]


def _mean(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.add(op.Pool, node, node.input, kernel=reader.shapes[node.input[0]][1:])


def _pool(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.add(op.Pool, node, node.input, kernel=tuple(given["kernel_shape"]), stride=tuple(given["strides"]))


def _shape(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.parts[node.output[0]] = ("front",)


def _concat(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    if node.input[0] in reader.parts:
        reader.parts[node.output[0]] = ("size", tuple(int(side) for side in reader.constants[node.input[1]]))
    else:
        reader.add(op.Concat, node, node.input)


def _resize(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    source, _, _, size = node.input
    coordinates = given["coordinate_transformation_mode"].decode()
    reader.add(op.Resize, node, [source], size=reader.parts[size][1], coordinates=coordinates)


def _flatten(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.add(op.Flatten, node, node.input)


def _transpose(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    axes, source = tuple(given["perm"]), node.input[0]
    if axes == (0, 3, 1, 2):
        _, source, size = reader.parts[source]
        reader.add(op.Places, node, [source], size=size)
    else:
        reader.parts[node.output[0]] = ("last" if axes == (0, 2, 3, 1) else "transposed", source)


def _reshape(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    source, shape = node.input[0], [int(side) for side in reader.constants[node.input[1]]]
    if source in reader.parts:
        reader.add(op.Rows, node, [reader.parts[source][1]], columns=shape[2])
    else:
        reader.parts[node.output[0]] = ("places", source, (shape[1], shape[2]))


def _matmul(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    first, second = node.input
    transposed = second in reader.parts
    reader.add(op.MatMul, node, [first, reader.parts[second][1] if transposed else second], transposed=transposed)


def _softmax(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    reader.add(op.Softmax, node, node.input)


def _identity(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    source, made = node.input[0], node.output[0]
    if made in reader.results:
        reader.outputs[made] = source
    elif source in reader.reals:
        reader.add(op.Dequantize, node, [source])
    else:
        raise GraphError(f"'{made}' repeats '{source}'")


def _quantize(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    source, made = node.input[0], node.output[0]
    last = reader.operators[-1] if reader.operators else None
    if source in reader.parts:
        reader.add(op.Activation, node, [reader.parts[source][1]], kind="hard_sigmoid")
    elif last is not None and last.output == source == f"{made}{_MADE}":
        reader.operators[-1] = replace(last, output=made)  # type: ignore[type-var]  # a dataclass
        reader.shapes[made] = reader.shapes[source]
    else:
        reader.add(op.Quantize, node, [source])
    reader.quantization[made] = _quantization(reader, node)


def _dequantize(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
    source, made = node.input[0], node.output[0]
    if source in reader.constants:
        reader.constants[made] = reader.constants[source]
        if reader.constants[source].dtype == np.int8:
            reader.stored[made] = _quantization(reader, node)
    else:
        reader.reals[made] = source
        reader.shapes[made] = reader.shapes[source]
        reader.quantization[source] = _quantization(reader, node)  # hard sigmoid is written with another scale


def _quantization(reader: _Reader, node: Any) -> Quantization:  # Any: as above
    scales, zero = (np.ravel(reader.constants[name]) for name in node.input[1:])
    return Quantization(tuple(scales.tolist()), int(zero[0]) - (_UNSIGNED if zero.dtype == np.uint8 else 0))


def _converted(operators: Sequence[op.Operator], quantization: Mapping[str, Quantization]) -> Iterator[op.Operator]:
    """The operators with their conversions; each conversion belongs to the block that reads its output.

    A float operator that reads an int8 value, such as a layer that was trained in the browser, gets a `Dequantize` before it.
    """
    blocks = {name: operator.block for operator in reversed(operators) for name in operator.inputs}
    reals: dict[str, str] = {}
    for operator in operators:
        if isinstance(operator, op.Quantize | op.Dequantize):
            yield replace(operator, block=blocks.get(operator.output, operator.block))
            continue
        if operator.output in quantization:
            yield operator
            continue
        for name in operator.inputs:
            if name in quantization and name not in reals:
                reals[name] = f"{name}/float"
                yield op.Dequantize(name=reals[name], inputs=(name,), output=reals[name], block=operator.block)
        inputs = tuple(reals.get(name, name) for name in operator.inputs)
        yield replace(operator, inputs=inputs)  # type: ignore[type-var]  # a dataclass


def _activation(kind: op.NonLinear) -> Callable[[_Reader, Any, dict[str, Any]], None]:  # Any: as above
    def read(reader: _Reader, node: Any, given: dict[str, Any]) -> None:  # Any: as above
        reader.activate(node, kind, node.input[0])

    return read


# fmt: off
_READERS: dict[str, Callable[[_Reader, Any, dict[str, Any]], None]] = {  # Any: as above
    "Conv":              _conv,
    "Gemm":              _gemm,
    "Add":               _add,
    "Mul":               _mul,
    "Erf":               _erf,
    "GlobalAveragePool": _mean,
    "AveragePool":       _pool,
    "Shape":             _shape,
    "Concat":            _concat,
    "Resize":            _resize,
    "Flatten":           _flatten,
    "Transpose":         _transpose,
    "Reshape":           _reshape,
    "MatMul":            _matmul,
    "Softmax":           _softmax,
    "Identity":          _identity,
    "QuantizeLinear":    _quantize,
    "DequantizeLinear":  _dequantize,
    "Relu":              _activation("relu"),
    "Clip":              _activation("relu6"),
    "HardSwish":         _activation("hard_swish"),
    "HardSigmoid":       _activation("hard_sigmoid"),
    "Sigmoid":           _activation("sigmoid"),
}
# fmt: on

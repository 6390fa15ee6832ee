"""`to_onnx` writes a graph as ONNX, one or a few nodes per operator, with labels and input contract in the metadata.

Quantized graphs are written as QDQ: values in unsigned 8 bits between QuantizeLinear and DequantizeLinear, weights in signed 8
bits, and float operators between them, which runtimes fuse. Values are unsigned because ONNX Runtime's kernels are faster with
them. On x86 processors without VNNI, these kernels can overflow if two neighboring weights exceed 64, that is 7 bits; the
metadata say how many bits the weights use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.deploy import onnx_boxes
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import weight_bits
from mobilenets.deploy.operators import ActivationKind
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization, bias_scales
from mobilenets.deploy.reference_int8 import six_times
from mobilenets.deploy.swish import SIX
from mobilenets.errors import GraphError, MissingExtraError
from mobilenets.runtime.manifest import METADATA_KEY, WEIGHT_BITS_KEY

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9
"""The IR version of the file; older versions of ONNX Runtime read it too."""

BATCH = "batch"
_UNSIGNED = 128  # added to signed 8 bits to make them unsigned


def to_onnx(graph: Graph, *, batch: int | None = None) -> onnx.ModelProto:
    """The graph as an ONNX model; its input is `image`, N C H W, and its outputs have the graph's names.

    Args:
        graph: a network.
        batch: a fixed batch size N; None for any.

    Raises:
        GraphError: the graph takes or returns integers instead of starting with `Quantize` and ending with `Dequantize`, or
            names clash in ONNX, such as those of an output and a value.
        MissingExtraError: onnx is not installed.
    """
    for value in (INPUT, *graph.outputs.values()):
        if value in graph.quantization:
            raise GraphError(f"'{value}' is quantized, but the inputs and outputs of ONNX files are floats")
    try:
        from onnx import TensorProto, checker, helper
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    writer = _Writer(graph)
    for operator in graph.operators:
        write = _write_integers if graph.quantized(operator) else _WRITERS[type(operator)]
        write(writer, operator)
    outputs = []
    for name, value in graph.outputs.items():
        kind = writer.kinds.get(value, TensorProto.FLOAT)
        outputs.append(helper.make_tensor_value_info(name, kind, [batch or BATCH, *writer.shapes[value]]))
        writer.node("Identity", [value], name)
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch or BATCH, *writer.shapes[INPUT]])]
    body = helper.make_graph(writer.nodes, graph.manifest.model, inputs, outputs, writer.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="mobilenets")
    model.ir_version = IR_VERSION
    known = {METADATA_KEY: graph.manifest.to_json()}
    if graph.quantization:
        known[WEIGHT_BITS_KEY] = str(weight_bits(graph))
    helper.set_model_props(model, known)
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise GraphError(f"the graph cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    return model


class _Writer:
    """The nodes and constants of the file under construction."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shapes = graph.shapes()
        self.nodes: list[Any] = []  # Any: protobuf messages
        self.constants: list[Any] = []
        self.weights: set[str] = set()
        self.kinds: dict[str, int] = {}  # of values that are not floats

    def weight(self, name: str) -> str:
        """A weight of the graph, under its own name; several operators may share it."""
        if name not in self.weights:
            self.weights.add(self.constant(name, self.graph.tensors[name], np.float32))
        return name

    def constant(self, name: str, values: object, kind: type = np.int64) -> str:
        """Add a constant other than a weight; returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:  # Any: what attributes hold
        """Append a node, named after its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}/{kind}", **attributes))
        return output

    def several(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:  # Any: what attributes hold
        """Append a node with several outputs, named after the first."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=f"{outputs[0]}/{kind}", **attributes))

    def scales(self, name: str, quantization: Quantization, kind: type) -> list[str]:
        """The names of the constants with the scales and zero points, of this type, of a value or weight."""
        constants = [f"{name}/scale", f"{name}/zero_point"]
        if constants[0] not in self.weights:
            scales = np.asarray(quantization.scales if len(quantization.scales) > 1 else quantization.scale)
            zero = quantization.zero_point + (_UNSIGNED if kind is np.uint8 else 0)
            self.weights.add(self.constant(constants[0], scales, np.float32))
            self.constant(constants[1], np.full_like(scales, zero), kind)
        return constants

    def real(self, name: str) -> str:
        """The dequantized version of an int8 value; a float value itself."""
        if name not in self.graph.quantization:
            return name
        real = f"{name}/real"
        if real not in self.shapes:
            scales = self.scales(name, self.graph.quantization[name], np.uint8)
            self.shapes[self.node("DequantizeLinear", [name, *scales], real)] = self.shapes[name]
        return real

    def quantize(self, real: str, output: str) -> None:
        """Quantize floats to a value of the graph."""
        scales = self.scales(output, self.graph.quantization[output], np.uint8)
        self.node("QuantizeLinear", [real, *scales], output)

    def stored(self, name: str, quantization: Quantization) -> None:
        """Add a weight that is stored as integers, followed by its dequantization."""
        values = self.graph.tensors[name]
        kind = values.dtype.type
        inputs = [self.constant(f"{name}/stored", values, kind), *self.scales(name, quantization, kind)]
        self.weights.add(self.node("DequantizeLinear", inputs, name, axis=0))

    def activated(self, kind: ActivationKind, output: str, write: Callable[[str], str]) -> None:
        """Write an operator with `write`, then its activation, whose result is `output`."""
        if kind == "linear":
            write(output)
        else:
            _ACTIVATIONS[kind](self, write(f"{output}/linear"), output)


def _write_integers(writer: _Writer, operator: op.Operator) -> None:
    """Write an int8 operator: the float operator between dequantization of its inputs and quantization of its output."""
    quantization = writer.graph.quantization
    reals = tuple(writer.real(name) for name in operator.inputs)
    if isinstance(operator, op.Quantize):
        writer.quantize(reals[0], operator.output)
        return
    if isinstance(operator, op.Activation) and operator.kind == "hard_sigmoid":
        _write_shifted(writer, reals[0], operator.output)
        return
    if isinstance(operator, op.Weighted):
        weight = quantization[operator.weight]
        writer.stored(operator.weight, weight)
        writer.stored(operator.bias, Quantization(tuple(bias_scales(quantization[operator.inputs[0]], weight))))
    made = f"{operator.output}/made" if operator.output in quantization else operator.output
    _WRITERS[type(operator)](writer, replace(operator, inputs=reals, output=made))  # type: ignore[type-var]  # a dataclass
    if made != operator.output:
        writer.quantize(made, operator.output)


def _write_shifted(writer: _Writer, real: str, output: str) -> None:
    """Write an int8 hard sigmoid as relu6(x + 3), quantized at six times the scale at which it is then dequantized.

    Runtimes have an int8 addition, but compute HardSigmoid in floats.
    """
    six = six_times(writer.graph.quantization[output])
    three, shifted = f"{output}/three", f"{output}/shifted"
    scales = writer.scales(three, Quantization((3 / 255,), LOWEST), np.uint8)
    constant = [writer.constant(f"{three}/stored", [255], np.uint8), *scales]
    writer.node("Add", [real, writer.node("DequantizeLinear", constant, three)], shifted)
    low, high = (six.scale * (end - six.zero_point) for end in (LOWEST, HIGHEST))
    if low < 0 or high > SIX + six.scale / 2:  # otherwise quantization clips as ReLU6 does
        _relu6(writer, shifted, f"{output}/cut")
        shifted = f"{output}/cut"
    writer.node("QuantizeLinear", [shifted, *writer.scales(f"{output}/six", six, np.uint8)], output)


def _window(operator: op.Conv | op.Depthwise) -> dict[str, Any]:  # Any: what attributes hold
    top, bottom, left, right = operator.padding
    return {"strides": operator.stride, "dilations": operator.dilation, "pads": (top, left, bottom, right)}


def _conv(writer: _Writer, operator: op.Conv) -> None:
    inputs = (*operator.inputs, writer.weight(operator.weight), writer.weight(operator.bias))
    kernel = writer.graph.tensors[operator.weight].shape[2:]
    writer.activated(
        operator.activation,
        operator.output,
        lambda output: writer.node("Conv", inputs, output, kernel_shape=kernel, **_window(operator)),
    )


def _depthwise(writer: _Writer, operator: op.Depthwise) -> None:
    inputs = (*operator.inputs, writer.weight(operator.weight), writer.weight(operator.bias))
    groups, _, *kernel = writer.graph.tensors[operator.weight].shape
    writer.activated(
        operator.activation,
        operator.output,
        lambda output: writer.node("Conv", inputs, output, kernel_shape=kernel, group=groups, **_window(operator)),
    )


def _dense(writer: _Writer, operator: op.Dense) -> None:
    inputs = (*operator.inputs, writer.weight(operator.weight), writer.weight(operator.bias))
    writer.activated(operator.activation, operator.output, lambda output: writer.node("Gemm", inputs, output, transB=1))


def _add(writer: _Writer, operator: op.Add) -> None:
    writer.activated(operator.activation, operator.output, lambda output: writer.node("Add", operator.inputs, output))


def _multiply(writer: _Writer, operator: op.Multiply) -> None:
    writer.node("Mul", operator.inputs, operator.output)


def _pool(writer: _Writer, operator: op.Pool) -> None:
    if writer.shapes[operator.inputs[0]][1:] == operator.kernel:
        writer.node("GlobalAveragePool", operator.inputs, operator.output)
    else:
        writer.node("AveragePool", operator.inputs, operator.output, kernel_shape=operator.kernel, strides=operator.stride)


def _activation(writer: _Writer, operator: op.Activation) -> None:
    _ACTIVATIONS[operator.kind](writer, operator.inputs[0], operator.output)


def _resize(writer: _Writer, operator: op.Resize) -> None:
    # Batch and channels are taken from the input: not every runtime supports Resize with axes.
    map_, name = operator.inputs[0], operator.output
    front = writer.node("Shape", [map_], f"{name}/front", start=0, end=2)
    size = writer.node("Concat", [front, writer.constant(f"{name}/size", operator.size)], f"{name}/shape", axis=0)
    mode = operator.coordinates
    writer.node("Resize", [map_, "", "", size], name, mode="linear", coordinate_transformation_mode=mode)


def _concat(writer: _Writer, operator: op.Concat) -> None:
    writer.node("Concat", operator.inputs, operator.output, axis=1)


def _flatten(writer: _Writer, operator: op.Flatten) -> None:
    writer.node("Flatten", operator.inputs, operator.output, axis=1)


def _rows(writer: _Writer, operator: op.Rows) -> None:
    last = writer.node("Transpose", operator.inputs, f"{operator.output}/channels_last", perm=(0, 2, 3, 1))
    shape = writer.constant(f"{operator.output}/shape", (0, -1, operator.columns))
    writer.node("Reshape", [last, shape], operator.output)


def _places(writer: _Writer, operator: op.Places) -> None:
    shape = writer.constant(f"{operator.output}/shape", (0, *operator.size, -1))
    last = writer.node("Reshape", [*operator.inputs, shape], f"{operator.output}/channels_last")
    writer.node("Transpose", [last], operator.output, perm=(0, 3, 1, 2))


def _matmul(writer: _Writer, operator: op.MatMul) -> None:
    first, second = operator.inputs
    if operator.transposed:
        second = writer.node("Transpose", [second], f"{operator.output}/transposed", perm=(0, 2, 1))
    if operator.factor == 1.0:
        writer.node("MatMul", [first, second], operator.output)
        return
    product = writer.node("MatMul", [first, second], f"{operator.output}/product")
    factor = writer.constant(f"{operator.output}/factor", operator.factor, np.float32)
    writer.node("Mul", [product, factor], operator.output)


def _softmax(writer: _Writer, operator: op.Softmax) -> None:
    writer.node("Softmax", operator.inputs, operator.output, axis=-1)


def _argmax(writer: _Writer, operator: op.ArgMax) -> None:
    from onnx import TensorProto

    # Among equal values the first wins, as in NumPy.
    best = writer.node("ArgMax", operator.inputs, f"{operator.output}/index", axis=1, keepdims=0)
    writer.node("Cast", [best], operator.output, to=TensorProto.UINT8)
    writer.kinds[operator.output] = TensorProto.UINT8


def _boxes(writer: _Writer, operator: op.Boxes) -> None:
    onnx_boxes.write_boxes(writer, operator, writer.graph.tensors[operator.anchors])


def _nms(writer: _Writer, operator: op.Nms) -> None:
    from onnx import TensorProto

    _, _, classes = operator.made
    onnx_boxes.write_nms(writer, operator, writer.graph.tensors[operator.thresholds], writer.shapes[operator.inputs[0]][0])
    writer.kinds[classes] = TensorProto.INT64


def _dequantize(writer: _Writer, operator: op.Dequantize) -> None:
    writer.node("Identity", operator.inputs, operator.output)


def _relu6(writer: _Writer, value: str, output: str) -> None:
    low, high = (writer.constant(f"{output}/{side}", side, np.float32) for side in (0, 6))
    writer.node("Clip", [value, low, high], output)


def _gelu(writer: _Writer, value: str, output: str) -> None:
    scaled = writer.node("Mul", [value, writer.constant(f"{output}/root", 2**-0.5, np.float32)], f"{output}/scaled")
    erf = writer.node("Erf", [scaled], f"{output}/erf")
    one = writer.node("Add", [erf, writer.constant(f"{output}/one", 1, np.float32)], f"{output}/shifted")
    half = writer.node("Mul", [value, writer.constant(f"{output}/half", 0.5, np.float32)], f"{output}/halved")
    writer.node("Mul", [half, one], output)


def _plain(kind: str, **attributes: Any) -> Callable[[_Writer, str, str], None]:  # Any: what attributes hold
    def write(writer: _Writer, value: str, output: str) -> None:
        writer.node(kind, [value], output, **attributes)

    return write


# fmt: off
_ACTIVATIONS: dict[ActivationKind, Callable[[_Writer, str, str], None]] = {
    "linear":       _plain("Identity"),
    "relu":         _plain("Relu"),
    "relu6":        _relu6,
    "hard_swish":   _plain("HardSwish"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid":      _plain("Sigmoid"),
    "gelu":         _gelu,
}
_WRITERS: dict[type[op.Operator], Callable[[_Writer, Any], None]] = {  # Any: the operator of the writer's kind
    op.Conv:       _conv,
    op.Depthwise:  _depthwise,
    op.Dense:      _dense,
    op.Add:        _add,
    op.Multiply:   _multiply,
    op.Pool:       _pool,
    op.Activation: _activation,
    op.Resize:     _resize,
    op.Concat:     _concat,
    op.Flatten:    _flatten,
    op.Rows:       _rows,
    op.Places:     _places,
    op.MatMul:     _matmul,
    op.Softmax:    _softmax,
    op.ArgMax:     _argmax,
    op.Boxes:      _boxes,
    op.Nms:        _nms,
    op.Dequantize: _dequantize,
}
# fmt: on

"""`to_tflite` writes a graph as a TFLite file directly: channels last without transposes, with fused activations.

In the file, a feature map is 1 H W C, a table 1 P C and a vector 1 C. The batch is one image by default, as runtimes for small
devices expect. Values with a quantization are written as 8-bit integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy import tflite_boxes
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import ActivationKind
from mobilenets.deploy.quantization import HIGHEST, bias_scales
from mobilenets.deploy.reach import within_reach
from mobilenets.deploy.reference_int8 import six_times
from mobilenets.deploy.shapes import Shape
from mobilenets.deploy.swish import undivided
from mobilenets.deploy.tflite_file import Draft
from mobilenets.errors import GraphError

FUSED: dict[ActivationKind, str] = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}
"""The activations that TFLite can fuse into an operator, by their names in its schema."""


def to_tflite(graph: Graph, *, half: bool = False, batch: int = 1, unsigned: bool = False) -> bytes:
    """The graph as the bytes of a `.tflite` file; its input is `image`, N H W C, and its outputs have the graph's names.

    The outputs of a graph that ends with `Nms` have the names of the Tasks library, `tflite_metadata.OUTPUTS`.

    Args:
        graph: a network.
        half: whether weights are stored in 16 bits, which halves the file; computation uses 32 bits.
        batch: N, the number of images at once.
        unsigned: whether int8 inputs and outputs of the graph are unsigned in the file, that is larger by 128.

    Raises:
        GraphError: the runtime's non-maximum suppression takes one image only.
        MissingExtraError: ai-edge-litert or flatbuffers is not installed.
    """
    writer = _Writer(graph, half=half, batch=batch)
    if unsigned:
        writer.take_unsigned()
    for operator in writer.graph.operators:
        _WRITERS[type(operator)](writer, operator)
    outputs = writer.detections or {name: writer.values[value] for name, value in graph.outputs.items()}
    if unsigned:
        outputs = {name: writer.returned(graph.outputs[name]) for name in outputs if name in graph.outputs}
    return writer.draft.packed({INPUT: writer.taken}, outputs, graph.manifest)


def channels_last(shape: Shape) -> tuple[int, ...]:
    """The shape in the file of a value, for one image."""
    return (1, *shape[1:], *shape[:1]) if len(shape) == 3 else (1, *shape)


def same_margins(size: Sequence[int], kernel: Sequence[int], operator: op.Conv | op.Depthwise) -> op.Margins:
    """The margins of TensorFlow's padding "SAME" for a feature map of this height and width."""
    margins: list[int] = []
    for i in range(2):
        reach, stride = operator.dilation[i] * (kernel[i] - 1) + 1, operator.stride[i]
        total = max((-(-size[i] // stride) - 1) * stride + reach - size[i], 0)
        margins += [total // 2, total - total // 2]
    return margins[0], margins[1], margins[2], margins[3]


class _Writer:
    """The file under construction, and the tensor index of each value of the graph."""

    def __init__(self, graph: Graph, *, half: bool, batch: int) -> None:
        self.graph, self.undivided = undivided(within_reach(graph))
        self.half, self.batch = half, batch
        self.shapes = self.graph.shapes()
        self.draft = Draft()
        self.values: dict[str, int] = {}
        self.detections: dict[str, int] = {}  # the output tensors of non-maximum suppression, if any
        self.taken = self.make(INPUT)

    def stored(self, shape: Shape) -> tuple[int, ...]:
        """The shape in the file of a value, for the whole batch."""
        return (self.batch, *channels_last(shape)[1:])

    def inputs(self, operator: op.Operator) -> list[int]:
        """The tensors that an operator reads."""
        return [self.values[name] for name in operator.inputs]

    def weights(self, operator: op.Weighted, axes: Sequence[int]) -> list[int]:
        """The tensors of an operator's weight and bias.

        Args:
            operator: the operator.
            axes: the axes of the graph's weight in the order of the file.
        """
        weight, bias = self.graph.tensors[operator.weight].transpose(axes), self.graph.tensors[operator.bias]
        quantization = self.graph.quantization.get(operator.weight)
        if quantization is None:
            return [self._floats(operator.weight, weight), self._floats(operator.bias, bias)]
        products = bias_scales(self.graph.quantization[operator.inputs[0]], quantization)
        return [
            self.draft.constant(operator.weight, weight, scales=quantization.scales, axis=list(axes).index(0)),
            self.draft.constant(operator.bias, bias, scales=products.tolist()),
        ]

    def _floats(self, name: str, values: NDArray[Any]) -> int:  # Any: floats
        """A tensor of floats; if stored in 16 bits, with an operator that converts them to 32."""
        if not self.half:
            return self.draft.constant(name, np.asarray(values, np.float32))
        stored = self.draft.constant(f"{name}/half", np.asarray(values, np.float16))
        return self.draft.operator("DEQUANTIZE", [stored], self.draft.value(name, values.shape))

    def make(self, name: str) -> int:
        """A new tensor for a value of the graph."""
        quantization = self.graph.quantization.get(name)
        self.values[name] = self.draft.value(name, self.stored(self.shapes[name]), quantization=quantization)
        return self.values[name]

    def take_unsigned(self) -> None:
        """Make the file's input unsigned, with an operator that converts it to the graph's signed integers."""
        self.taken = self._unsigned(INPUT)
        self.draft.operator("QUANTIZE", [self.taken], self.values[INPUT])

    def returned(self, value: str) -> int:
        """The tensor of an output; int8 outputs are converted to unsigned integers."""
        if value not in self.graph.quantization:
            return self.values[value]
        return self.draft.operator("QUANTIZE", [self.values[value]], self._unsigned(value))

    def _unsigned(self, value: str) -> int:
        quantization = self.graph.quantization[value]
        return self.draft.value(f"{value}/unsigned", self.stored(self.shapes[value]), kind="UINT8", quantization=quantization)

    def made(self, operator: op.Operator) -> int:
        """A new tensor for the output of an operator."""
        return self.make(operator.output)

    def activated(self, kind: ActivationKind, operator: op.Operator, write: Callable[[str, int], int]) -> None:
        """Write an operator with its activation, fused if TFLite can, otherwise as an operator after it."""
        if kind in FUSED:
            write(FUSED[kind], self.made(operator))
            return
        shape = self.stored(self.shapes[operator.output])
        linear = write(FUSED["linear"], self.draft.value(f"{operator.output}/linear", shape))
        _ACTIVATIONS[kind](self, linear, operator.output)


def _window(writer: _Writer, operator: op.Conv | op.Depthwise) -> tuple[int, dict[str, Any]]:  # Any: what options hold
    """The input tensor of a convolution, with a PAD if TFLite's padding modes do not suffice, and the options of its window."""
    [source] = writer.inputs(operator)
    channels, *size = writer.shapes[operator.inputs[0]]
    kernel = writer.graph.tensors[operator.weight].shape[2:]
    padding, margins = "VALID", operator.padding
    if any(margins) and margins == same_margins(size, kernel, operator):
        padding = "SAME"
    elif any(margins):
        top, bottom, left, right = margins
        sides = writer.draft.constant(
            f"{operator.output}/sides", np.asarray([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        )
        shape = (writer.batch, size[0] + top + bottom, size[1] + left + right, channels)
        quantization = writer.graph.quantization.get(operator.inputs[0])
        wide = writer.draft.value(f"{operator.output}/padded", shape, quantization=quantization)
        source = writer.draft.operator("PAD", [source, sides], wide)
    (down, across), (dilation_down, dilation_across) = operator.stride, operator.dilation
    return source, {
        "padding": padding,
        "strideH": down,
        "strideW": across,
        "dilationHFactor": dilation_down,
        "dilationWFactor": dilation_across,
    }


def _conv(writer: _Writer, operator: op.Conv) -> None:
    source, window = _window(writer, operator)
    inputs = [source, *writer.weights(operator, (0, 2, 3, 1))]  # O kh kw C

    def write(fused: str, made: int) -> int:
        return writer.draft.operator("CONV_2D", inputs, made, fusedActivationFunction=fused, **window)

    writer.activated(operator.activation, operator, write)


def _depthwise(writer: _Writer, operator: op.Depthwise) -> None:
    source, window = _window(writer, operator)
    inputs = [source, *writer.weights(operator, (1, 2, 3, 0))]  # 1 kh kw C

    def write(fused: str, made: int) -> int:
        options = {"depthMultiplier": 1, "fusedActivationFunction": fused, **window}
        return writer.draft.operator("DEPTHWISE_CONV_2D", inputs, made, **options)

    writer.activated(operator.activation, operator, write)


def _dense(writer: _Writer, operator: op.Dense) -> None:
    inputs = [*writer.inputs(operator), *writer.weights(operator, (0, 1))]

    def write(fused: str, made: int) -> int:
        return writer.draft.operator("FULLY_CONNECTED", inputs, made, fusedActivationFunction=fused)

    writer.activated(operator.activation, operator, write)


def _add(writer: _Writer, operator: op.Add) -> None:
    inputs = writer.inputs(operator)

    def write(fused: str, made: int) -> int:
        return writer.draft.operator("ADD", inputs, made, fusedActivationFunction=fused)

    writer.activated(operator.activation, operator, write)


def _multiply(writer: _Writer, operator: op.Multiply) -> None:
    writer.draft.operator("MUL", writer.inputs(operator), writer.made(operator), fusedActivationFunction="NONE")


def _pool(writer: _Writer, operator: op.Pool) -> None:
    [source] = writer.inputs(operator)
    if writer.shapes[operator.inputs[0]][1:] == operator.kernel:
        axes = writer.draft.constant(f"{operator.output}/axes", np.asarray([1, 2], np.int32))
        writer.draft.operator("MEAN", [source, axes], writer.made(operator), keepDims=True)
        return
    (height, width), (down, across) = operator.kernel, operator.stride
    window = {"filterHeight": height, "filterWidth": width, "strideH": down, "strideW": across, "padding": "VALID"}
    writer.draft.operator("AVERAGE_POOL_2D", [source], writer.made(operator), fusedActivationFunction="NONE", **window)


def _activation(writer: _Writer, operator: op.Activation) -> None:
    [source] = writer.inputs(operator)
    _ACTIVATIONS[operator.kind](writer, source, operator.output)


def _resize(writer: _Writer, operator: op.Resize) -> None:
    size = writer.draft.constant(f"{operator.output}/size", np.asarray(operator.size, np.int32))
    aligned = operator.coordinates == "align_corners"
    inputs = [*writer.inputs(operator), size]
    writer.draft.operator("RESIZE_BILINEAR", inputs, writer.made(operator), alignCorners=aligned, halfPixelCenters=not aligned)


def _concat(writer: _Writer, operator: op.Concat) -> None:
    axis = 3 if len(writer.shapes[operator.output]) == 3 else 1
    made = writer.made(operator)
    writer.draft.operator("CONCATENATION", writer.inputs(operator), made, axis=axis, fusedActivationFunction="NONE")


def _reshape(writer: _Writer, operator: op.Flatten | op.Rows | op.Places) -> None:
    shape = [-1, *writer.stored(writer.shapes[operator.output])[1:]]  # for any batch size: a program may resize the input
    numbers = writer.draft.constant(f"{operator.output}/shape", np.asarray(shape, np.int32))
    inputs = [*writer.inputs(operator), numbers]
    writer.draft.operator("RESHAPE", inputs, writer.made(operator), newShape=shape)


def _matmul(writer: _Writer, operator: op.MatMul) -> None:
    inputs = writer.inputs(operator)
    if operator.factor != 1.0:
        shape = writer.stored(writer.shapes[operator.inputs[0]])
        factor = writer.draft.constant(f"{operator.output}/factor", np.asarray([operator.factor], np.float32))
        scaled = writer.draft.value(f"{operator.output}/scaled", shape)
        inputs[0] = writer.draft.operator("MUL", [inputs[0], factor], scaled, fusedActivationFunction="NONE")
    writer.draft.operator("BATCH_MATMUL", inputs, writer.made(operator), adjY=operator.transposed)


def _softmax(writer: _Writer, operator: op.Softmax) -> None:
    writer.draft.operator("SOFTMAX", writer.inputs(operator), writer.made(operator), beta=1.0)


def _argmax(writer: _Writer, operator: op.ArgMax) -> None:
    axis = writer.draft.constant(f"{operator.output}/axis", np.asarray(3, np.int32))
    shape = (writer.batch, *writer.shapes[operator.output])
    index = writer.draft.value(f"{operator.output}/index", shape, kind="INT32")
    writer.draft.operator("ARG_MAX", [*writer.inputs(operator), axis], index, outputType="INT32")
    made = writer.values[operator.output] = writer.draft.value(operator.output, shape, kind="UINT8")
    writer.draft.operator("CAST", [index], made, inDataType="INT32", outDataType="UINT8")


def _boxes(writer: _Writer, operator: op.Boxes) -> None:
    [offsets] = writer.inputs(operator)
    anchors = writer.graph.tensors[operator.anchors]
    tflite_boxes.write_boxes(writer.draft, operator, offsets, anchors, made=writer.made(operator), batch=writer.batch)


def _nms(writer: _Writer, operator: op.Nms) -> None:
    if writer.batch != 1:
        raise GraphError(f"TFLite's non-maximum suppression takes one image at once, but the batch is {writer.batch}")
    boxes, scores = writer.inputs(operator)
    thresholds, shape = writer.graph.tensors[operator.thresholds], writer.shapes[operator.inputs[1]]
    sizes = [
        maker.size for maker in writer.graph.operators if isinstance(maker, op.Boxes) and maker.output == operator.inputs[0]
    ]
    if not sizes:
        raise GraphError(f"'{operator.name}' suppresses '{operator.inputs[0]}', which are no boxes that the graph decodes")
    writer.detections = tflite_boxes.write_nms(writer.draft, operator, boxes, scores, thresholds, shape=shape, size=sizes[0])


def _converted(kind: str) -> Callable[[_Writer, Any], None]:  # Any: the operator
    def write(writer: _Writer, operator: op.Quantize | op.Dequantize) -> None:
        writer.draft.operator(kind, writer.inputs(operator), writer.made(operator))

    return write


def _one_operator(kind: str) -> Callable[[_Writer, int, str], None]:
    def write(writer: _Writer, source: int, value: str) -> None:
        writer.draft.operator(kind, [source], writer.make(value))

    return write


def _hard_sigmoid(writer: _Writer, source: int, value: str) -> None:
    """relu6(x + 3) / 6, for which TFLite has no operator. In int8, dividing by 6 changes only the scale, not the integers.

    The division needs an operator only if the next one cannot absorb it.
    """
    draft, made = writer.draft, writer.graph.quantization.get(value)
    shape = writer.stored(writer.shapes[value])
    if made is None:
        three, sixth = (
            draft.constant(f"{value}/{part}", np.asarray([number], np.float32))
            for part, number in (("three", 3), ("sixth", 1 / 6))
        )
    else:
        three, sixth = (
            draft.constant(f"{value}/{part}", np.asarray([HIGHEST], np.int8), scales=[number / HIGHEST])
            for part, number in (("three", 3), ("sixth", 1 / 6))
        )
    if value in writer.undivided:
        draft.operator("ADD", [source, three], writer.make(value), fusedActivationFunction="RELU6")
        return
    cut = draft.value(f"{value}/cut", shape, quantization=made and six_times(made))
    draft.operator("ADD", [source, three], cut, fusedActivationFunction="RELU6")
    draft.operator("MUL", [cut, sixth], writer.make(value), fusedActivationFunction="NONE")


# fmt: off
_ACTIVATIONS: dict[ActivationKind, Callable[[_Writer, int, str], None]] = {  # from a tensor to a value of the graph
    "relu":         _one_operator("RELU"),
    "relu6":        _one_operator("RELU6"),
    "hard_swish":   _one_operator("HARD_SWISH"),
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid":      _one_operator("LOGISTIC"),
    "gelu":         _one_operator("GELU"),
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
    op.Flatten:    _reshape,
    op.Rows:       _reshape,
    op.Places:     _reshape,
    op.MatMul:     _matmul,
    op.Softmax:    _softmax,
    op.ArgMax:     _argmax,
    op.Boxes:      _boxes,
    op.Nms:        _nms,
    op.Quantize:   _converted("QUANTIZE"),
    op.Dequantize: _converted("DEQUANTIZE"),
}
# fmt: on

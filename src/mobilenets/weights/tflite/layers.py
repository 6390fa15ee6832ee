"""A TFLite graph as the layers of a MobileNet: convolutions with what is fused to them, and how they are connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation
from mobilenets.weights.tflite.graph import ACTIVATIONS, PADDINGS, Graph, Operator

Step = Literal[
    "input", "output", "padded", "plus_3", "clamped", "gate", "six_swish", "pooled", "sum", "batched", "joined", "classes"
]
Pads = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Value:
    """What a tensor of the graph means.

    Args:
        step: how far from the layer's output: hard-swish and hard sigmoid may be spelled out in several operators.
        layer: index of the layer whose output it is, or was; -1 for the image.
        pads: rows added above and below by an operator of its own.
        dilation: of a map whose pixels were dealt out over a batch, side by side `dilation` apart.
        joined: the layers whose outputs stand side by side, in their order; the last of them is `layer`.
    """

    step: Step
    layer: int = -1
    pads: Pads = (0, 0)
    dilation: int = 1
    joined: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Resize:
    """A layer's output made larger, bilinearly.

    Args:
        layer: index of the layer.
        align_corners: whether the centers of corner pixels stay on each other.
        half_pixel_centers: whether the edges of the map do.
    """

    layer: int
    align_corners: bool
    half_pixel_centers: bool


@dataclass(slots=True)
class Layer:
    """A convolution, or a fully connected layer as a 1 x 1 convolution.

    Args:
        weight: c_out c_in k k, depthwise c 1 k k; de-quantized.
        bias: with the batch norm folded into it and the weight.
        source: what enters.
        size: rows of the map that enters, before padding.
        pads: rows added above and below.
        squeeze: the two layers of the squeeze-excite on its output.
        joins: whether a residual is added to its output.
        dilation: distance of the kernel's points on the map.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    depthwise: bool
    stride: int
    activation: Activation
    source: Value
    size: int
    pads: Pads
    squeeze: tuple[int, int] | None = None
    joins: bool = False
    dilation: int = 1

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return int(self.weight.shape[2])

    @property
    def reach(self) -> int:
        """Side of what the kernel covers, dilation included."""
        return self.dilation * (self.kernel - 1) + 1


@dataclass(slots=True)
class Walk:
    """One pass over a graph; `layers` is the result.

    Args:
        graph: what to walk.
        values: what each tensor means, as far as the pass has come.
        constants: de-quantized constants that an operator of its own unpacks.
        resizes: maps that are made larger.
    """

    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    values: dict[int, Value] = field(default_factory=dict)
    constants: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    resizes: list[Resize] = field(default_factory=list)

    def constant(self, i: int) -> NDArray[np.float32] | None:
        """The values of a tensor that does not depend on the image, else None."""
        if i in self.constants:
            return self.constants[i]
        return self.graph.tensors[i].values() if i >= 0 and self.graph.tensors[i].is_constant else None

    def refuse(self, operator: Operator, why: str) -> WeightsError:
        """The error for an operator that no MobileNet has there."""
        name = self.graph.tensors[operator.outputs[0]].name
        return WeightsError(f"'{self.graph.origin}' is no MobileNet that can be read: {operator.kind} at '{name}' {why}")


def walked(graph: Graph) -> Walk:
    """The layers of a network's graph, in the order they run, and what joins them.

    Raises:
        WeightsError: the graph holds what no MobileNet does.
    """
    walk = Walk(graph)
    walk.values[graph.inputs[0]] = Value("input")
    for operator in graph.operators:
        if operator.kind not in _STEPS:
            raise walk.refuse(operator, "has no place in one")
        value = _STEPS[operator.kind](walk, operator)
        if value is not None:
            walk.values[operator.outputs[0]] = value
    return walk


def _pass(walk: Walk, operator: Operator) -> Value | None:
    """Reshapes, quantization and softmax change nothing that matters here; constants are unpacked."""
    i = operator.inputs[0]
    constant = walk.constant(i)
    if constant is None:
        return _value(walk, operator)
    walk.constants[operator.outputs[0]] = constant
    return None


def _convolution(walk: Walk, operator: Operator) -> Value:
    depthwise, dense = operator.kind == "DEPTHWISE_CONV_2D", operator.kind == "FULLY_CONNECTED"
    source = _value(walk, operator)
    kernel = walk.constant(operator.inputs[1])
    options = operator.options
    if kernel is None:
        raise walk.refuse(operator, "has no constant weights")
    if options.get("stride") != options.get("stride_w"):
        raise walk.refuse(operator, "strides unevenly")
    if depthwise and options["multiplier"] > 1:
        raise walk.refuse(operator, "makes several channels of one")
    weight = kernel[:, None, None] if dense else kernel  # c_out k k c_in
    weight = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    bias = walk.constant(operator.inputs[2]) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
    stride = options.get("stride", 1)
    shape = walk.graph.tensors[operator.inputs[0]].shape
    dilation = options.get("dilation", 1) * source.dilation
    size = shape[1] * source.dilation - sum(source.pads) if len(shape) == 4 else 1
    same = not dense and PADDINGS[options["padding"]] == "SAME"
    pads = _same(size, dilation * (weight.shape[2] - 1) + 1, stride) if same else source.pads
    if source.step == "batched":
        pads = (pads[0], pads[0])  # what is added below beside it fills the batch and is cut off again
        if dilation * (weight.shape[2] - 1) != 2 * pads[0] or stride > 1 or same:
            raise walk.refuse(operator, "is no dilated convolution")
    activation = ACTIVATIONS.get(options["activation"])
    if activation is None:
        raise walk.refuse(operator, f"has activation {options['activation']}")
    walk.layers.append(
        Layer(
            np.ascontiguousarray(weight),
            bias if bias is not None else np.zeros(weight.shape[0], np.float32),
            depthwise,
            stride,
            activation,
            Value("output", source.layer) if source.step in ("padded", "batched") else source,
            size,
            pads,
            dilation=dilation,
        )
    )
    return Value("output", len(walk.layers) - 1)


def _activation(walk: Walk, operator: Operator) -> Value:
    value = _value(walk, operator)
    if operator.kind == "RELU6" and value.step == "plus_3":
        return Value("clamped", value.layer)
    return _activated(walk, operator, value, _OWN_ACTIVATIONS[operator.kind])


def _activated(walk: Walk, operator: Operator, value: Value, activation: Activation) -> Value:
    if value.step != "output" or walk.layers[value.layer].activation != "linear":
        raise walk.refuse(operator, "does not follow a linear layer")
    walk.layers[value.layer].activation = activation
    return Value("output", value.layer)


def _add(walk: Walk, operator: Operator) -> Value:
    number, i = _number(walk, operator)
    clamps = ACTIVATIONS.get(operator.options["activation"]) == "relu6"
    if number is not None:
        value = walk.values[i]
        if abs(number - 3) > 0.05 or value.step != "output":
            raise walk.refuse(operator, f"adds {number:g}")
        return Value("clamped" if clamps else "plus_3", value.layer)
    one, other = (_value(walk, operator, k) for k in (0, 1))
    last = max(one.layer, other.layer)
    if "output" not in (one.step, other.step) or walk.layers[last].activation != "linear":
        raise walk.refuse(operator, "is no residual")
    walk.layers[last].joins = True
    return Value("sum", last)


def _multiply(walk: Walk, operator: Operator) -> Value:
    number, i = _number(walk, operator)
    if number is not None:
        value = walk.values[i]
        share = 1 / number if operator.kind == "DIV" and number else number
        if abs(share * 6 - 1) > 0.02 or value.step not in ("clamped", "six_swish"):
            raise walk.refuse(operator, f"scales by {share:g}")
        if value.step == "clamped":
            return Value("gate", value.layer)
        return _activated(walk, operator, Value("output", value.layer), "hard_swish")
    one, other = sorted((_value(walk, operator, k) for k in (0, 1)), key=lambda value: value.step == "output")
    if other.step == "output" and one.layer == other.layer and one.step in ("gate", "clamped"):
        if one.step == "clamped":
            return Value("six_swish", one.layer)
        return _activated(walk, operator, other, "hard_swish")
    if other.step == "output" and one.step == "gate":
        expand = walk.layers[one.layer]
        reduce = walk.layers[expand.source.layer]
        if reduce.source == Value("pooled", other.layer):
            walk.layers[other.layer].squeeze = (expand.source.layer, one.layer)
            return other
    raise walk.refuse(operator, "is neither hard-swish nor squeeze-excite")


def _pool(walk: Walk, operator: Operator) -> Value:
    value = _value(walk, operator)
    shape = walk.graph.tensors[operator.outputs[0]].shape
    if len(shape) == 4 and shape[1:3] != (1, 1):
        raise walk.refuse(operator, "does not pool the whole map")
    return Value("pooled", value.layer)


def _pad(walk: Walk, operator: Operator) -> Value:
    value, amounts = _value(walk, operator), walk.constant(operator.inputs[1])
    if amounts is None or value.step not in ("output", "input", "sum"):
        raise walk.refuse(operator, "has no constant amounts")
    above, below = (int(amount) for amount in amounts[1])
    return Value("padded" if value.step == "output" else value.step, value.layer, (above, below))


def _deal(walk: Walk, operator: Operator) -> Value:
    """How older files write dilation: every n-th pixel into one image of a batch of n * n."""
    value, block, amounts = _value(walk, operator), walk.constant(operator.inputs[1]), walk.constant(operator.inputs[2])
    if block is None or amounts is None or len({*block.tolist()}) != 1:
        raise walk.refuse(operator, "has no constant block, or an uneven one")
    above, below = (int(amount) for amount in amounts[0])
    return Value("batched", value.layer, (above, below), dilation=int(block[0]))


def _collect(walk: Walk, operator: Operator) -> Value:
    value = _value(walk, operator)
    if value.step != "output" or walk.graph.tensors[operator.outputs[0]].shape[1] != walk.layers[value.layer].size:
        raise walk.refuse(operator, "does not give the map back that was dealt out")
    return value


def _resize(walk: Walk, operator: Operator) -> Value:
    value = _value(walk, operator)
    before, after = (walk.graph.tensors[i].shape for i in (operator.inputs[0], operator.outputs[0]))
    if value.step != "output":
        raise walk.refuse(operator, "resizes what is no layer's output")
    if before != after and before[1:3] != (1, 1):
        options = operator.options
        walk.resizes.append(Resize(value.layer, bool(options["align_corners"]), bool(options["half_pixel_centers"])))
    return value


def _join(walk: Walk, operator: Operator) -> Value:
    values = [_value(walk, operator, place) for place in range(len(operator.inputs))]
    if any(value.step != "output" for value in values):
        raise walk.refuse(operator, "joins what are no layers' outputs")
    layers = tuple(value.layer for value in values)
    return Value("joined", max(layers), joined=layers)


def _classes(walk: Walk, operator: Operator) -> Value:
    return Value("classes", _value(walk, operator).layer)


def _value(walk: Walk, operator: Operator, place: int = 0) -> Value:
    i = operator.inputs[place]
    if i not in walk.values:
        raise walk.refuse(operator, "does not follow from the image")
    return walk.values[i]


def _number(walk: Walk, operator: Operator) -> tuple[float | None, int]:
    """The one number that an operator adds or multiplies with, and the tensor it does that to; None for two tensors."""
    for i, other in (operator.inputs, operator.inputs[::-1]):
        constant = walk.constant(i)
        if constant is not None and constant.size == 1 and other in walk.values:
            return float(constant.reshape(())), other
    return None, operator.inputs[0]


def _same(size: int, kernel: int, stride: int) -> Pads:
    """TensorFlow's SAME: the output has size / stride rows, rounded up; an odd row is added below."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


_OWN_ACTIVATIONS: dict[str, Activation] = {"RELU": "relu", "RELU6": "relu6", "HARD_SWISH": "hard_swish"}
_STEPS: dict[str, Callable[[Walk, Operator], Value | None]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _convolution,
    "RELU": _activation,
    "RELU6": _activation,
    "HARD_SWISH": _activation,
    "ADD": _add,
    "MUL": _multiply,
    "DIV": _multiply,
    "AVERAGE_POOL_2D": _pool,
    "MEAN": _pool,
    "PAD": _pad,
    "RESHAPE": _pass,
    "SQUEEZE": _pass,
    "SOFTMAX": _pass,
    "QUANTIZE": _pass,
    "DEQUANTIZE": _pass,
    "CAST": _pass,
    "SPACE_TO_BATCH_ND": _deal,
    "BATCH_TO_SPACE_ND": _collect,
    "RESIZE_BILINEAR": _resize,
    "CONCATENATION": _join,
    "ARG_MAX": _classes,
}

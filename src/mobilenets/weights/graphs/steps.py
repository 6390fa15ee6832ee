"""The effect of each operator on a `Walk`: a table from TFLite's operator names to small functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mobilenets.specs.rows import Activation
from mobilenets.weights.graphs.graph import ACTIVATIONS, PADDINGS, Graph, Operator
from mobilenets.weights.graphs.walk import MOST_WEIGHTS, Layer, Norm, Pads, Resize, Value, Walk

TAKE_OUT = "take it out of the model and save it again; images are prepared as `input` of the checkpoint says"


def walked(graph: Graph) -> Walk:
    """The layers of a network's graph in execution order, and how they are connected.

    Raises:
        WeightsError: the graph has something that no MobileNet has.
    """
    walk = Walk(graph)
    walk.values[graph.inputs[0]] = Value("input")
    for operator in graph.operators:
        if operator.kind not in STEPS:
            raise walk.refuse(operator, REFUSED.get(operator.kind, "has no place in a MobileNet"))
        value = STEPS[operator.kind](walk, operator)
        if value is not None:
            walk.values[operator.outputs[0]] = value
    return walk


def _pass(walk: Walk, operator: Operator) -> Value | None:
    """Pass the input through: quantization and dropout do not matter here. Constants are unpacked."""
    i = operator.inputs[0]
    constant = walk.constant(i)
    if constant is None:
        return walk.value(operator)
    walk.constants[operator.outputs[0]] = constant
    return None


def _reshape(walk: Walk, operator: Operator) -> Value | None:
    before, after = walk.shape(operator.inputs[0]), walk.shape(operator.outputs[0])
    spatial = len(before) == 4 and max(before[1:3]) > 1
    if spatial and walk.constant(operator.inputs[0]) is None and len(after) != 4:
        sides = " x ".join(str(side) for side in before[1:])
        raise walk.refuse(operator, f"flattens a {sides} map, where a MobileNet averages it over the image")
    return _pass(walk, operator)


def _convolution(walk: Walk, operator: Operator) -> Value:
    depthwise, dense = operator.kind == "DEPTHWISE_CONV_2D", operator.kind == "FULLY_CONNECTED"
    source = walk.value(operator)
    kernel = walk.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
    options = operator.options
    if kernel is None or kernel.ndim != (2 if dense else 4):
        raise walk.refuse(operator, "has no constant weights")
    if options.get("stride") != options.get("stride_w") or options.get("dilation") != options.get("dilation_w"):
        raise walk.refuse(operator, "strides or dilates height and width unevenly")
    if depthwise and options["multiplier"] > 1:
        raise walk.refuse(operator, "makes several channels out of one")
    if source.step not in ("input", "output", "padded", "pooled", "sum", "batched", "joined"):
        raise walk.refuse(operator, "stands where no layer of a MobileNet does")
    if sum(layer.weight.size for layer in walk.layers) + kernel.size > MOST_WEIGHTS:
        raise walk.refuse(operator, f"is past {MOST_WEIGHTS:,} weights, more than any MobileNet has")
    weight = kernel[:, None, None] if dense else kernel  # c_out k k c_in
    weight = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    if weight.shape[2] != weight.shape[3]:
        raise walk.refuse(operator, "has a kernel that is not square")
    bias = walk.constant(operator.inputs[2]) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
    bias = bias if bias is not None else np.zeros(weight.shape[0], np.float32)
    if source.scaling >= 0:
        weight, bias = _scaled(walk, operator, source, weight, bias)
    activation = ACTIVATIONS.get(int(options.get("activation", 0)))
    if activation is None:
        raise walk.refuse(operator, f"has activation number {options['activation']:g}, which no MobileNet has")
    walk.layers.append(
        Layer(
            operator.shown or f"'{walk.graph.tensors[operator.outputs[0]].name}'",
            np.ascontiguousarray(weight),
            bias,
            depthwise,
            int(options.get("stride", 1)),
            activation,
            _origin(source),
            *_reach(walk, operator, source, weight.shape[2]),
            dilation=int(options.get("dilation", 1)) * source.dilation,
            padded_apart=source.pads != (0, 0),
        )
    )
    return Value("output", len(walk.layers) - 1)


def _origin(source: Value) -> Value:
    return (
        Value("output", source.layer)
        if source.step in ("padded", "batched")
        else Value(source.step, source.layer, joined=source.joined)
    )


def _reach(walk: Walk, operator: Operator, source: Value, kernel: int) -> tuple[int, Pads]:
    """Rows of a convolution's input feature map, and the rows of padding above and below it."""
    options, shape = operator.options, walk.shape(operator.inputs[0])
    if operator.kind == "FULLY_CONNECTED":
        if len(shape) == 4 and max(shape[1:3]) > 1:
            raise walk.refuse(operator, "is fully connected to a whole map, which a MobileNet averages first")
        return 1, source.pads
    if len(shape) != 4 or options["stride"] < 1 or options.get("dilation", 1) < 1:
        raise walk.refuse(operator, "is not a convolution of maps")
    stride, dilation = int(options["stride"]), int(options.get("dilation", 1)) * source.dilation
    same = PADDINGS[int(options["padding"])] == "SAME"
    size = shape[1] * source.dilation - sum(source.pads)
    pads = _same(size, dilation * (kernel - 1) + 1, stride) if same else source.pads
    if same and source.pads != (0, 0):
        raise walk.refuse(operator, "pads a map that is padded already")
    if source.step == "batched":
        pads = (pads[0], pads[0])  # additional padding below only fills the batch and is cut off again
        if dilation * (kernel - 1) != 2 * pads[0] or stride > 1 or same:
            raise walk.refuse(operator, "is not a dilated convolution")
    return size, pads


def _scaled(
    walk: Walk, operator: Operator, source: Value, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias after folding in a factor and offset of the input: W (f x + o) + b = (W f) x + (W o + b)."""
    factor, offset = walk.scalings[source.scaling]
    if operator.kind == "DEPTHWISE_CONV_2D" or weight.shape[2] != 1 or weight.shape[1] != len(factor):
        raise walk.refuse(operator, "follows a batch norm that is not behind a linear layer")
    wide = weight.astype(np.float64)  # c_out c_in 1 1
    return (
        (wide * factor[:, None, None]).astype(np.float32),
        (bias + wide[:, :, 0, 0] @ offset).astype(np.float32),
    )


def _norm(walk: Walk, operator: Operator) -> Value:
    """A separate batch norm: it belongs to the linear layer before it, otherwise to the layer after it."""
    value = walk.value(operator)
    parts = [walk.constant(i) for i in operator.inputs[1:5]]
    weight, bias, mean, var = (part if part is not None else np.zeros(0, np.float32) for part in parts)
    norm = Norm(weight, bias, mean, var, float(operator.options["eps"]))
    if var.min(initial=0) < 0:
        raise walk.refuse(operator, "has a negative variance")
    if value.step == "input":
        if value.pads != (0, 0):
            raise walk.refuse(operator, "scales an image that is padded already")
        walk.scale_pixels(*norm.scaling)
        return value
    layer = walk.layers[value.layer]
    if value.step == "output" and layer.activation == "linear" and layer.norm is None and not layer.joins:
        if len(layer.bias) != len(mean):
            raise walk.refuse(operator, f"has {len(mean)} channels, but the layer before it has {len(layer.bias)}")
        layer.norm = Norm(norm.weight, norm.bias, norm.mean - layer.bias, norm.var, norm.eps)
        layer.bias = np.zeros_like(layer.bias)
        return value
    if value.step not in ("output", "pooled") or value.scaling >= 0:
        raise walk.refuse(operator, "stands where no batch norm of a MobileNet does")
    walk.scalings.append(norm.scaling)
    return Value(value.step, value.layer, scaling=len(walk.scalings) - 1)


def _activation(walk: Walk, operator: Operator) -> Value:
    value = walk.value(operator)
    if operator.kind == "RELU6" and value.step == "plus_3":
        return Value("clamped", value.layer)
    if operator.kind == "HARD_SIGMOID" and value.step == "output":
        return Value("gate", value.layer)
    return _activated(walk, operator, value, _OWN_ACTIVATIONS.get(operator.kind, "linear"))


def _activated(walk: Walk, operator: Operator, value: Value, activation: Activation) -> Value:
    if (
        value.step != "output"
        or value.scaling >= 0
        or walk.layers[value.layer].activation != "linear"
        or activation == "linear"
    ):
        raise walk.refuse(operator, "does not follow a linear layer")
    walk.layers[value.layer].activation = activation
    return Value("output", value.layer)


def _add(walk: Walk, operator: Operator) -> Value:
    number, i = _constant_operand(walk, operator)
    clamps = ACTIVATIONS.get(int(operator.options.get("activation", 0))) == "relu6"
    if number is not None:
        value = walk.values[i]
        if value.step == "input" and not clamps:
            return _scaled_pixels(walk, operator, value, np.ones(1), number)
        if number.size != 1 or abs(number[0] - 3) > 0.05 or value.step != "output":
            raise walk.refuse(operator, f"adds {_shown(number)}")
        return Value("clamped" if clamps else "plus_3", value.layer)
    terms = [walk.value(operator, k) for k in (0, 1)]
    first, last = sorted(term.layer for term in terms)
    plain = all(term.scaling < 0 for term in terms) and not operator.options.get("activation", 0)
    outputs = any(term.step == "output" for term in terms)
    if not outputs or walk.layers[last].activation != "linear" or not plain or first < 0:
        raise walk.refuse(operator, "is not a residual")
    walk.layers[last].shortcut = first
    return Value("sum", last)


def _subtract(walk: Walk, operator: Operator) -> Value:
    number, i = _constant_operand(walk, operator)
    if number is None or walk.values[i].step != "input" or i != operator.inputs[0]:
        raise walk.refuse(operator, "subtracts what no MobileNet does")
    return _scaled_pixels(walk, operator, walk.values[i], np.ones(1), -number)


def _multiply(walk: Walk, operator: Operator) -> Value:
    if operator.options.get("activation", 0):
        raise walk.refuse(operator, "has an activation")
    number, i = _constant_operand(walk, operator)
    if number is not None:
        value = walk.values[i]
        if operator.kind == "DIV" and (i != operator.inputs[0] or not number.all()):
            raise walk.refuse(operator, "divides by something other than a nonzero constant")
        share = 1 / number if operator.kind == "DIV" else number
        if value.step == "input":
            return _scaled_pixels(walk, operator, value, share, np.zeros(1))
        if share.size != 1 or abs(share[0] * 6 - 1) > 0.02 or value.step not in ("clamped", "six_swish"):
            raise walk.refuse(operator, f"scales by {_shown(share)}")
        if value.step == "clamped":
            return Value("gate", value.layer)
        return _activated(walk, operator, Value("output", value.layer), "hard_swish")
    factor, value = sorted((walk.value(operator, k) for k in (0, 1)), key=lambda operand: operand.step == "output")
    if value.step == "output" and factor.layer == value.layer and factor.step in ("gate", "clamped"):
        if factor.step == "clamped":
            return Value("six_swish", factor.layer)
        return _activated(walk, operator, value, "hard_swish")
    if value.step == "output" and factor.step == "gate":
        expand = walk.layers[factor.layer]
        reduce = walk.layers[expand.source.layer]
        if reduce.source == Value("pooled", value.layer) and reduce.activation == "relu":
            walk.layers[value.layer].squeeze = (expand.source.layer, factor.layer)
            return value
    raise walk.refuse(operator, "is neither hard-swish nor squeeze-excite with a hard sigmoid")


def _scaled_pixels(
    walk: Walk, operator: Operator, value: Value, factor: NDArray[np.float64], offset: NDArray[np.float64]
) -> Value:
    if value.pads != (0, 0):
        raise walk.refuse(operator, "scales an image that is padded already")
    walk.scale_pixels(factor, offset)
    return value


def _pool(walk: Walk, operator: Operator) -> Value:
    value = walk.value(operator)
    before, after = walk.shape(operator.inputs[0]), walk.shape(operator.outputs[0])
    axes = walk.constant(operator.inputs[1]) if operator.kind == "MEAN" and len(operator.inputs) > 1 else None
    whole = len(after) != 4 or after[1:3] == (1, 1)
    if not whole or (axes is not None and sorted(int(axis) % 4 for axis in axes.reshape(-1)) != [1, 2]):
        raise walk.refuse(operator, "does not average the whole map")
    if value.step not in ("output", "sum") or value.scaling >= 0 or len(before) != 4 or operator.options.get("activation", 0):
        raise walk.refuse(operator, "does not average a layer's map")
    return Value("pooled", value.layer)


def _pad(walk: Walk, operator: Operator) -> Value:
    value, amounts = walk.value(operator), walk.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
    if amounts is None or amounts.shape != (4, 2) or value.step not in ("output", "input", "sum") or value.scaling >= 0:
        raise walk.refuse(operator, "has no constant amounts")
    if amounts[[0, 3]].any() or (amounts[1] != amounts[2]).any() or value.pads != (0, 0):
        raise walk.refuse(operator, "pads other than the borders of a map, all alike")
    above, below = (int(amount) for amount in amounts[1])
    return Value("padded" if value.step == "output" else value.step, value.layer, (above, below))


def _deal(walk: Walk, operator: Operator) -> Value:
    """Dilation as older files write it: every n-th pixel goes into one image of a batch of n * n."""
    value = walk.value(operator)
    block, amounts = (walk.constant(i) for i in operator.inputs[1:3])
    if block is None or amounts is None or len({*block.tolist()}) != 1 or value.step not in ("output", "sum"):
        raise walk.refuse(operator, "has no constant block, or an uneven one")
    above, below = (int(amount) for amount in amounts[0])
    return Value("batched", value.layer, (above, below), dilation=int(block[0]))


def _collect(walk: Walk, operator: Operator) -> Value:
    value = walk.value(operator)
    if value.step != "output" or walk.shape(operator.outputs[0])[1] != walk.layers[value.layer].size:
        raise walk.refuse(operator, "does not give back the map that was dealt out")
    return value


def _resize(walk: Walk, operator: Operator) -> Value:
    value = walk.value(operator)
    before, after = walk.shape(operator.inputs[0]), walk.shape(operator.outputs[0])
    if value.step == "input":
        if after[1] != after[2] or operator.options.get("align_corners"):
            raise walk.refuse(operator, "resizes images in a way that the checkpoint cannot say", hint=TAKE_OUT)
        walk.resized = after[1]
        return value
    if value.step != "output":
        raise walk.refuse(operator, "resizes what is not a layer's output")
    if before != after and before[1:3] != (1, 1):
        options = operator.options
        walk.resizes.append(Resize(value.layer, bool(options["align_corners"]), bool(options["half_pixel_centers"])))
    return value


def _tile(walk: Walk, operator: Operator) -> Value:
    """The pooled image, copied to every pixel of a feature map."""
    value, before = walk.value(operator), walk.shape(operator.inputs[0])
    counts = walk.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
    if value.step != "output" or before[1:3] != (1, 1) or counts is None or counts.shape != (4,) or counts[0] != 1 != counts[3]:
        raise walk.refuse(operator, "copies more than one pooled pixel")
    return value


def _join(walk: Walk, operator: Operator) -> Value:
    values = [walk.value(operator, place) for place in range(len(operator.inputs))]
    if any(value.step != "output" or value.scaling >= 0 for value in values):
        raise walk.refuse(operator, "joins what are not layers' outputs")
    layers = tuple(value.layer for value in values)
    return Value("joined", max(layers), joined=layers)


def _scores(walk: Walk, operator: Operator) -> Value:
    value = walk.value(operator)
    if value.step not in ("output", "pooled") or value.scaling >= 0 or abs(operator.options.get("beta", 1) - 1) > 1e-6:
        raise walk.refuse(operator, "does not follow the classifier")
    walk.ending = "softmax" if operator.kind == "SOFTMAX" else "sigmoid"
    walk.pools_scores = value.step == "pooled"
    return Value("scores", value.layer)


def _classes(walk: Walk, operator: Operator) -> Value:
    return Value("classes", walk.value(operator).layer)


def _constant_operand(walk: Walk, operator: Operator) -> tuple[NDArray[np.float64] | None, int]:
    """The constant operand, a number or one per channel, and the index of the other tensor; None if both are computed."""
    if len(operator.inputs) != 2:
        raise walk.refuse(operator, f"has {len(operator.inputs)} inputs")
    for i, other in (operator.inputs, operator.inputs[::-1]):
        constant = walk.constant(i)
        if constant is not None and other in walk.values and constant.size == max((*constant.shape, 1)):
            return constant.reshape(-1).astype(np.float64), other
    return None, operator.inputs[0]


def _shown(number: NDArray[np.float64]) -> str:
    return f"{number[0]:g}" if number.size == 1 else "a value per channel"


def _same(size: int, kernel: int, stride: int) -> Pads:
    """TensorFlow's SAME padding: the output has size / stride rows, rounded up; an odd row is added below."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


_OWN_ACTIVATIONS: dict[str, Activation] = {"RELU": "relu", "RELU6": "relu6", "HARD_SWISH": "hard_swish", "GELU": "gelu"}
REFUSED = {
    "MAX_POOL_2D": "takes the maximum of the map, where a MobileNet averages it",
    "REDUCE_MAX": "takes the maximum of the map, where a MobileNet averages it",
    "LAMBDA": "holds code, which is never run",
}
STEPS: Mapping[str, Callable[[Walk, Operator], Value | None]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _convolution,
    "BATCH_NORM": _norm,
    "RELU": _activation,
    "RELU6": _activation,
    "HARD_SWISH": _activation,
    "HARD_SIGMOID": _activation,
    "GELU": _activation,
    "ADD": _add,
    "SUB": _subtract,
    "MUL": _multiply,
    "DIV": _multiply,
    "AVERAGE_POOL_2D": _pool,
    "MEAN": _pool,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _pass,
    "QUANTIZE": _pass,
    "DEQUANTIZE": _pass,
    "CAST": _pass,
    "DROPOUT": _pass,
    "SOFTMAX": _scores,
    "LOGISTIC": _scores,
    "SPACE_TO_BATCH_ND": _deal,
    "BATCH_TO_SPACE_ND": _collect,
    "RESIZE_BILINEAR": _resize,
    "TILE": _tile,
    "CONCATENATION": _join,
    "ARG_MAX": _classes,
}

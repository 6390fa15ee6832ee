"""A Keras file as a `Graph`: each layer becomes the operators that it runs, with the file's weights as constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mobilenets.errors import WeightsError
from mobilenets.weights.graphs.graph import PADDINGS, Graph
from mobilenets.weights.keras.builder import Builder
from mobilenets.weights.keras.config import Call, Symbol, check_class, lay_open
from mobilenets.weights.keras.files import Array, Stored
from mobilenets.weights.told import Told

OPEN_SIZE = 224
"""Side for computing shapes if the file takes any size, px."""

# fmt: off
OPERATIONS = {  # name of a function from `keras.ops` or TensorFlow in a model: the operator
    "TrueDivide": "DIV", "Divide": "DIV", "Subtract": "SUB", "Add": "ADD", "Multiply": "MUL", "Relu": "RELU", "Relu6": "RELU6",
    "Relu6Layer": "RELU6", "HardSwish": "HARD_SWISH", "HardSilu": "HARD_SWISH", "Sigmoid": "LOGISTIC", "Softmax": "SOFTMAX",
    "math.truediv": "DIV", "math.divide": "DIV", "math.subtract": "SUB", "__operators__.add": "ADD", "math.add": "ADD",
    "math.multiply": "MUL", "nn.relu6": "RELU6", "nn.relu": "RELU", "nn.softmax": "SOFTMAX", "math.sigmoid": "LOGISTIC",
}
IDENTITIES = (  # layers that have no effect at inference
    "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization",
    "Cast", "Identity",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness", "RandomTranslation",
    "RandomHue", "RandomSaturation", "RandomColorJitter", "RandomColorDegeneration", "RandomSharpness", "RandomShear",
    "RandomGrayscale", "RandomErasing", "RandomHeight", "RandomWidth", "RandAugment", "AugMix", "MixUp", "CutMix",
    "RandomInvert", "RandomPosterization", "RandomGaussianBlur", "RandomPerspective", "RandomElasticTransform",
)
# fmt: on


def graph_of(stored: Stored, told: Told) -> Graph:
    """The graph of a Keras file with a configuration.

    Args:
        stored: the open file.
        told: the user's statements about the file; if they give the pixel scale, a Lambda before the first layer is skipped.

    Raises:
        WeightsError: it has something that a graph cannot express.
    """
    check_class(stored.config, stored.origin)
    builder = Builder(stored, told)
    shape = _input_shape(stored.config)
    image = builder.tensor("image", tuple(side or OPEN_SIZE for side in shape))
    end = lay_open(stored.config, image, partial(_apply, builder), stored.origin)
    return Graph(
        stored.origin,
        tuple(builder.tensors),
        tuple(builder.operators),
        (image,),
        (end,),
        loss=_loss(stored.training),
        takes_any_size=not all(shape[1:3]),
    )


def _apply(builder: Builder, call: Call, operands: Sequence[Any]) -> int:  # Any: symbols and JSON
    """Add a layer, and return the index of its output."""
    if call.config.get("data_format") == "channels_first":
        raise builder.refuse(call, "has channels first; only models with channels last can be converted")
    if call.kind in IDENTITIES and operands and isinstance(operands[0], Symbol):
        return builder.same(call, "DROPOUT", operands[0].index)
    kind = call.config.get("function", "") if call.kind == "TFOpLambda" else call.kind
    if kind in OPERATIONS and (kind not in LAYERS or len(operands) > 1):
        return _operation(builder, call, OPERATIONS[kind], operands)
    symbols = [operand.index for operand in operands if isinstance(operand, Symbol)]
    if kind not in LAYERS or len(symbols) != len(operands) or not symbols:
        raise builder.refuse(call, "has no place in a MobileNet")
    return LAYERS[kind](builder, call, symbols)


def _operation(builder: Builder, call: Call, kind: str, operands: Sequence[Any]) -> int:  # Any: symbols and JSON
    inputs = [operand.index if isinstance(operand, Symbol) else builder.constant(operand) for operand in operands]
    widest = max((builder.shape(i) for i in inputs), key=lambda shape: (len(shape), int(np.prod(shape))))
    return builder.add(call, kind, inputs, widest)


def _input_shape(config: Mapping[str, Any]) -> tuple[int, int, int, int]:  # Any: JSON
    """The input's shape N H W C, with 0 for open sides. A Sequential model may leave it to its first layer."""
    inner = config["config"]
    layers = inner if isinstance(inner, list) else inner["layers"]
    first = layers[0]["config"]
    shape = next(
        (given for name in ("batch_shape", "batch_input_shape") if (given := first.get(name))),
        None if isinstance(inner, list) else inner.get("build_input_shape"),
    )
    if shape is None and "layers" in first:
        return _input_shape(layers[0])
    if shape is None:
        return (1, 0, 0, 3)
    if len(shape) != 4 or not shape[3]:
        raise ValueError(f"its input has the shape {list(shape)}, which is not that of images")
    return (1, int(shape[1] or 0), int(shape[2] or 0), int(shape[3]))


def _loss(training: Mapping[str, Any]) -> str:  # Any: JSON
    """Keras's name of the loss in lower case; empty for several, none, or a user-defined function."""
    loss = training.get("loss")
    if isinstance(loss, dict):
        loss = loss.get("class_name") if loss.get("class_name") != "function" else loss.get("config")
    return loss.lower() if isinstance(loss, str) else ""


def _convolution(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    if call.config.get("groups", 1) != 1:
        raise builder.refuse(call, "has groups, which no MobileNet has")
    kernel, *bias = builder.weights(call, 1 + bool(call.config["use_bias"]))  # k k c_in c_out
    x = _convolved(builder, call, "CONV_2D", inputs[0], kernel.transpose(3, 0, 1, 2), bias)
    return builder.activated(call, x, call.config.get("activation"))


def _depthwise(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    kernel, *bias = builder.weights(call, 1 + bool(call.config["use_bias"]))  # k k c multiplier
    x = _convolved(builder, call, "DEPTHWISE_CONV_2D", inputs[0], _one_each(builder, call, kernel), bias)
    return builder.activated(call, x, call.config.get("activation"))


def _separable(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    kernel, point, *bias = builder.weights(call, 2 + bool(call.config["use_bias"]))
    x = _convolved(builder, call, "DEPTHWISE_CONV_2D", inputs[0], _one_each(builder, call, kernel), [])
    plain = {**call.config, "strides": [1, 1], "dilation_rate": [1, 1], "padding": "valid"}
    behind = Call(call.kind, call.name, plain, call.names, call.numbers)
    x = _convolved(builder, behind, "CONV_2D", x, point.transpose(3, 0, 1, 2), bias)
    return builder.activated(call, x, call.config.get("activation"))


def _one_each(builder: Builder, call: Call, kernel: Array) -> Array:
    """A depthwise kernel k k c 1, reshaped to 1 k k c."""
    if kernel.shape[3] != 1:
        raise builder.refuse(call, "makes several channels out of one")
    return kernel.transpose(3, 0, 1, 2)


def _convolved(builder: Builder, call: Call, kind: str, x: int, kernel: Array, bias: Sequence[Array]) -> int:
    shape = builder.shape(x)
    if len(shape) != 4:
        raise builder.refuse(call, "does not stand on a map")
    (stride, stride_w), (dilation, dilation_w) = (_pair(call.config.get(name, 1)) for name in ("strides", "dilation_rate"))
    padding = str(call.config.get("padding", "valid")).upper()
    if padding not in PADDINGS or min(stride, stride_w, dilation, dilation_w) < 1:
        raise builder.refuse(call, f"has padding '{padding.lower()[:20]}' or a stride that no MobileNet has")
    sides = [
        -(-side // step) if padding == "SAME" else (side - apart * (reach - 1) - 1) // step + 1
        for side, step, apart, reach in zip(
            shape[1:3], (stride, stride_w), (dilation, dilation_w), kernel.shape[1:3], strict=True
        )
    ]
    channels = kernel.shape[3] if kind == "DEPTHWISE_CONV_2D" else kernel.shape[0]
    expected = channels if kind == "DEPTHWISE_CONV_2D" else kernel.shape[3]
    if expected != shape[3] or min(sides) < 1:
        raise builder.refuse(
            call, f"has weights for {expected} channels, but stands on a map of {' x '.join(map(str, shape[1:]))}"
        )
    return builder.add(
        call,
        kind,
        [x, *map(builder.constant, (kernel, *bias))],
        (1, *sides, channels),
        padding=PADDINGS.index(padding),
        stride=stride,
        stride_w=stride_w,
        dilation=dilation,
        dilation_w=dilation_w,
        multiplier=1,
        activation=0,
    )


def _dense(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    kernel, *bias = builder.weights(call, 1 + bool(call.config["use_bias"]))  # c_in c_out
    shape = builder.shape(inputs[0])
    if kernel.ndim != 2 or kernel.shape[0] != shape[-1]:
        raise builder.refuse(call, f"has weights of {list(kernel.shape)}, but {shape[-1]} values enter it")
    constants = map(builder.constant, (kernel.T, *bias))
    x = builder.add(call, "FULLY_CONNECTED", [inputs[0], *constants], (*shape[:-1], kernel.shape[1]), activation=0)
    return builder.activated(call, x, call.config.get("activation"))


def _norm(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    shape, axis = builder.shape(inputs[0]), np.ravel(call.config.get("axis", -1))
    if len(axis) != 1 or int(axis[0]) not in (-1, len(shape) - 1):
        raise builder.refuse(call, "does not normalize channels")
    scale, center = bool(call.config.get("scale", True)), bool(call.config.get("center", True))
    stored = builder.weights(call, 2 + scale + center)
    channels = stored[-1].shape
    gamma = stored[0] if scale else np.ones(channels, np.float32)
    beta = stored[int(scale)] if center else np.zeros(channels, np.float32)
    parts = (gamma, beta, *stored[-2:])
    if any(part.shape != (shape[-1],) for part in parts):
        raise builder.refuse(call, f"has {[part.size for part in parts]} values, but {shape[-1]} channels enter it")
    eps = float(call.config.get("epsilon", 1e-3))
    return builder.add(call, "BATCH_NORM", [inputs[0], *map(builder.constant, parts)], shape, eps=eps)


def _activation(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    return builder.activated(call, inputs[0], call.config.get("activation"))


def _relu(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    most = call.config.get("max_value")
    if call.config.get("negative_slope") or call.config.get("threshold") or most not in (None, 6, 6.0):
        raise builder.refuse(call, "is neither ReLU nor ReLU6")
    return builder.activated(call, inputs[0], "relu" if most is None else "relu6")


def _softmax(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    return builder.activated(call, inputs[0], "softmax")


def _global_average(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    n, _, _, c = builder.shape(inputs[0])
    shape = (n, 1, 1, c) if call.config.get("keepdims") else (n, c)
    return builder.add(call, "MEAN", [inputs[0], builder.constant([1, 2])], shape)


def _average(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    n, height, width, c = builder.shape(inputs[0])
    if _pair(call.config.get("pool_size", 2)) != (height, width) or call.config.get("padding") == "same":
        raise builder.refuse(call, f"averages parts of a {height} x {width} map, where a MobileNet averages the whole map")
    return builder.add(call, "AVERAGE_POOL_2D", [inputs[0]], (n, 1, 1, c), height=height)


def _maximum(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    return builder.add(call, "MAX_POOL_2D", [inputs[0]], (1, 1, 1, builder.shape(inputs[0])[-1]))


def _flatten(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    return builder.add(call, "RESHAPE", [inputs[0]], (1, int(np.prod(builder.shape(inputs[0])[1:]))))


def _reshape(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    shape = builder.shape(inputs[0])
    target = [int(side or -1) for side in call.config["target_shape"]]
    if len([side for side in shape[1:] if side > 1]) > 1 or max(target) not in (-1, shape[-1]):
        raise builder.refuse(call, "reshapes a map")
    return builder.add(call, "RESHAPE", [inputs[0]], (1, *(shape[-1] if side == -1 else side for side in target)))


def _pad(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    n, height, width, c = builder.shape(inputs[0])
    given = call.config.get("padding", 1)
    rows, columns = (_pair(part) for part in (_pair(given) if isinstance(given, int) else given))
    amounts = builder.constant([[0, 0], rows, columns, [0, 0]])
    return builder.add(call, "PAD", [inputs[0], amounts], (n, height + sum(rows), width + sum(columns), c))


def _concatenate(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    raise builder.refuse(call, "joins several maps or pools")


def _rescaling(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    shape = builder.shape(inputs[0])
    scaled = builder.add(call, "MUL", [inputs[0], builder.constant(call.config["scale"])], shape)
    return builder.add(call, "ADD", [scaled, builder.constant(call.config.get("offset", 0.0))], shape)


def _normalization(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    shape = builder.shape(inputs[0])
    mean, variance = call.config.get("mean"), call.config.get("variance")
    if mean is None or variance is None:
        mean, variance, _ = builder.weights(call, 3)
    if call.config.get("invert") or int(np.ravel(call.config.get("axis", -1) or -1)[0]) not in (-1, len(shape) - 1):
        raise builder.refuse(call, "does not normalize channels")
    std = np.maximum(np.sqrt(np.ravel(np.asarray(variance, np.float64))), 1e-7)
    shifted = builder.add(call, "SUB", [inputs[0], builder.constant(np.ravel(np.asarray(mean, np.float64)))], shape)
    return builder.add(call, "DIV", [shifted, builder.constant(std)], shape)


def _resizing(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    n, _, _, c = builder.shape(inputs[0])
    target = (int(call.config["height"]), int(call.config["width"]))
    ratio = call.config.get("crop_to_aspect_ratio") or call.config.get("pad_to_aspect_ratio")
    if ratio or str(call.config.get("interpolation", "bilinear")).lower() != "bilinear" or target[0] != target[1]:
        raise builder.refuse(call, "resizes images in a way that the checkpoint cannot say")
    return builder.add(call, "RESIZE_BILINEAR", [inputs[0]], (n, *target, c), half_pixel_centers=1)


def _lambda(builder: Builder, call: Call, inputs: Sequence[int]) -> int:
    if builder.told.pixels and not any(operator.kind != "DROPOUT" for operator in builder.operators):
        return builder.add(call, "DROPOUT", [inputs[0]], builder.shape(inputs[0]))
    raise WeightsError(
        f"'{builder.stored.origin}' cannot be converted: {call.shown} holds code, which is never run",
        hint="if it only scales pixels, say to what: --pixels -1..1 (or 0..1, imagenet)",
    )


def _pair(value: Any) -> tuple[int, int]:  # Any: JSON
    if isinstance(value, int):
        return value, value
    vertical, horizontal = value
    return int(vertical), int(horizontal)


LAYERS: Mapping[str, Callable[[Builder, Call, Sequence[int]], int]] = {
    "Conv2D": _convolution,
    "Convolution2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _norm,
    "BatchNormalizationV1": _norm,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "GlobalAveragePooling2D": _global_average,
    "AveragePooling2D": _average,
    "GlobalMaxPooling2D": _maximum,
    "MaxPooling2D": _maximum,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "ZeroPadding2D": _pad,
    "Concatenate": _concatenate,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Resizing": _resizing,
    "Lambda": _lambda,
}

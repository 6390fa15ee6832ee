"""TFLite files that tests write: float forms of quantized ones, and networks of ours in other programs' spelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from numpy.typing import NDArray

from mobilenets.model import Model
from mobilenets.specs.rows import Bottleneck, Conv, Separable

B = schema.BuiltinOperator
ACTIVATIONS = {"linear": 0, "relu": 1, "relu6": 3, "hard_swish": 0}
LABELS = tuple(f"class {i}" for i in range(1000))


# fmt: off
def as_float(path: Path, target: Path, *, per_channel: bool = False) -> Path:
    """A quantized file as float, by LiteRT's own schema; with weights quantized per channel and unpacked by operators."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph = model.subgraphs[0]
    unpack = []
    for i, tensor in enumerate(list(graph.tensors)):
        stored, quantization = model.buffers[tensor.buffer].data, tensor.quantization
        if stored is not None and quantization is not None and quantization.scale is not None:
            kind = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT32: np.int32}[tensor.type]
            whole = np.frombuffer(bytes(bytearray(stored)), kind).reshape(tensor.shape).astype(np.float64)
            values = ((whole - quantization.zeroPoint[0]) * quantization.scale[0]).astype(np.float32)
            if per_channel and values.ndim == 4:
                unpack.append((i, values))
            model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        if quantization is not None and quantization.scale is not None:
            tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    for i, values in unpack:
        _pack_per_channel(model, i, values)
    return packed(model, target)


def _pack_per_channel(model: schema.ModelT, i: int, values: NDArray[np.float32]) -> None:
    graph = model.subgraphs[0]
    axis = 3 if values.shape[0] == 1 else 0
    scale = np.abs(values).max(tuple(k for k in range(4) if k != axis), keepdims=True).clip(1e-9) / 127
    stored = np.round(values / scale).astype(np.int8)
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.quantizedDimension = scale.reshape(-1), axis
    quantization.zeroPoint = np.zeros(scale.size, np.int64)
    model.buffers.append(a_buffer(stored))
    graph.tensors.append(a_tensor(f"packed {i}", values.shape, len(model.buffers) - 1, schema.TensorType.INT8))
    graph.tensors[-1].quantization = quantization
    model.buffers[graph.tensors[i].buffer].data = None
    graph.operators.insert(0, an_operator(model, B.DEQUANTIZE, [len(graph.tensors) - 1], [i]))


def written(source: Model, path: Path, *, spelled_out: bool) -> Path:
    """A model as a float TFLite file, its norms folded as the converters do; hard-swish as one operator or `spelled_out`."""
    writer = _Writer(source.spec.input.size, spelled_out)
    backbone_spec, state = source.spec.backbone, {key: value.double().numpy() for key, value in source.state_dict().items()}

    def normed(key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        slope = state[f"{key}.norm.weight"] / np.sqrt(state[f"{key}.norm.running_var"] + backbone_spec.norm_eps)
        bias = state[f"{key}.norm.bias"] - state[f"{key}.norm.running_mean"] * slope
        return state[f"{key}.conv.weight"] * slope[:, None, None, None], bias

    x = 0
    for i, row in enumerate(backbone_spec.rows):
        key = f"backbone.blocks.{i}"
        if isinstance(row, Conv):
            x = writer.conv(x, *normed(key), row.stride, row.activation)
            continue
        assert isinstance(row, Bottleneck | Separable)
        before = x
        if f"{key}.expand.conv.weight" in state:
            x = writer.conv(x, *normed(f"{key}.expand"), 1, row.activation)
        x = writer.conv(x, *normed(f"{key}.depthwise"), row.stride, row.activation, depthwise=True)
        if f"{key}.squeeze.reduce.weight" in state:
            parts = [state[f"{key}.squeeze.{part}.{kind}"] for part in ("reduce", "expand") for kind in ("weight", "bias")]
            x = writer.squeeze(x, *parts)
        last = "project" if isinstance(row, Bottleneck) else "pointwise"
        x = writer.conv(x, *normed(f"{key}.{last}"), 1, "linear" if last == "project" else row.activation)
        if last == "project" and writer.shape(before) == writer.shape(x):
            x = writer.binary(B.ADD, before, x)
    x = writer.pool(x)
    for i, row in enumerate(backbone_spec.tail):
        weight, bias = state[f"backbone.tail.{i}.conv.weight"], state[f"backbone.tail.{i}.conv.bias"]
        x = writer.conv(x, weight, bias, 1, row.activation)
    weight = state["head.linear.weight"][:, :, None, None]
    x = writer.conv(x, weight, state["head.linear.bias"], 1, "linear")
    x = writer.add([x, writer.constant(np.array([-1, len(weight)], np.int32))], B.RESHAPE, (1, len(weight)))
    writer.graph.outputs = [x]
    return packed(writer.model, path)


class _Writer:
    """A float graph, operator by operator; tensors are N H W C."""

    def __init__(self, size: int, spelled_out: bool) -> None:
        self.spelled_out = spelled_out
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs = [a_tensor("image", (1, size, size, 3), 0)], [], [0]
        self.model.subgraphs = [self.graph]

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[i].shape)

    def constant(self, values: NDArray[np.generic]) -> int:
        self.model.buffers.append(a_buffer(values))
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        self.graph.tensors.append(a_tensor("constant", values.shape, len(self.model.buffers) - 1, kind))
        return len(self.graph.tensors) - 1

    def add(self, inputs: list[int], code: int, shape: tuple[int, ...], options: object = None, kind: int = 0) -> int:
        self.graph.tensors.append(a_tensor(f"tensor {len(self.graph.tensors)}", shape, 0))
        operator = an_operator(self.model, code, inputs, [len(self.graph.tensors) - 1])
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.graph.operators.append(operator)
        return len(self.graph.tensors) - 1

    def conv(
        self,
        x: int,
        weight: NDArray[np.float64],
        bias: NDArray[np.float64],
        stride: int,
        activation: str,
        *,
        depthwise: bool = False,
    ) -> int:
        n, h, w, _ = self.shape(x)
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = ACTIVATIONS[activation]
        if depthwise:
            options.depthMultiplier = 1
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        inputs = [x, *(self.constant(array.astype(np.float32)) for array in (weight.transpose(order), bias))]
        code = B.DEPTHWISE_CONV_2D if depthwise else B.CONV_2D
        kind = schema.BuiltinOptions.DepthwiseConv2DOptions if depthwise else schema.BuiltinOptions.Conv2DOptions
        out = self.add(inputs, code, (n, -(-h // stride), -(-w // stride), len(bias)), options, kind)
        if activation != "hard_swish":
            return out
        if not self.spelled_out:
            return self.add([out], B.HARD_SWISH, self.shape(out))
        return self.binary(B.MUL, out, self.gate(out))

    def gate(self, x: int) -> int:
        """Hard sigmoid: relu6(x + 3) / 6."""
        three, sixth = (self.constant(np.array(value, np.float32)) for value in (3, 1 / 6))
        return self.binary(B.MUL, self.binary(B.ADD, x, three, activation="relu6"), sixth)

    def squeeze(self, x: int, reduce: NDArray, reduce_bias: NDArray, expand: NDArray, expand_bias: NDArray) -> int:  # type: ignore[type-arg]
        pooled = self.conv(self.pool(x), reduce, reduce_bias, 1, "relu")
        return self.binary(B.MUL, x, self.gate(self.conv(pooled, expand, expand_bias, 1, "linear")))

    def pool(self, x: int) -> int:
        n, _, _, c = self.shape(x)
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axes = self.constant(np.array([1, 2], np.int32))
        return self.add([x, axes], B.MEAN, (n, 1, 1, c), options, schema.BuiltinOptions.ReducerOptions)

    def binary(self, code: int, one: int, other: int, *, activation: str = "linear") -> int:
        options, kind = (
            (schema.AddOptionsT(), schema.BuiltinOptions.AddOptions)
            if code == B.ADD
            else (schema.MulOptionsT(), schema.BuiltinOptions.MulOptions)
        )
        options.fusedActivationFunction = ACTIVATIONS[activation]
        return self.add([one, other], code, self.shape(one), options, kind)


def a_tensor(name: str, shape: tuple[int, ...], buffer: int, kind: int = schema.TensorType.FLOAT32) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, list(shape), buffer, kind
    return tensor


def a_buffer(values: NDArray[np.generic]) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def an_operator(model: schema.ModelT, code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    known = [one.builtinCode for one in model.operatorCodes]
    if code not in known:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        model.operatorCodes.append(entry)
        known.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = known.index(code), inputs, outputs
    return operator


def packed(model: schema.ModelT, path: Path) -> Path:
    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path

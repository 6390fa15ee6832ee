"""TFLite files: the published quantized ones, the same as float and per channel, V3 in both spellings of hard-swish.

LiteRT runs every file as the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import Builder
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.model import Model, create
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import Bottleneck, Conv, Separable
from mobilenets.weights.assemble import assemble
from mobilenets.weights.graphs.classify import network_of
from mobilenets.weights.load import read
from mobilenets.weights.norms import folded
from mobilenets.weights.tflite.read import read_graph
from mobilenets.weights.told import Told

B = schema.BuiltinOperator
ACTIVATIONS = {"linear": 0, "relu": 1, "relu6": 3, "hard_swish": 0}
LABELS = tuple(f"class {i}" for i in range(1000))
# fmt: off
PUBLISHED = [
    # file                          network         width  size  top-1 of the de-quantized weights on 1000 photos
    ("mobilenet_v1_0.25_128_quant", "mobilenet_v1", 0.25,  128,  0.421),
    ("mobilenet_v1_0.75_192_quant", "mobilenet_v1", 0.75,  192,  0.760),
    ("mobilenet_v2_1.0_224_quant",  "mobilenet_v2", 1.0,   224,  0.851),
]
# fmt: on


@pytest.mark.parametrize(("file", "name", "width", "size", "top_1"), PUBLISHED)
def test_published_files_say_what_they_are(shared: Path, file: str, name: str, width: float, size: int, top_1: float) -> None:
    model = _load(shared / "weights" / f"{file}.tflite")
    spec = model.spec
    assert (spec.backbone.name, spec.backbone.width, spec.backbone.padding) == (name, width, "tf")
    assert spec.input == InputContract(size=size, mean=(0.5,), std=(0.5,), resize="crop_then_stretch", crop=0.875)
    assert spec.backbone.rows == backbone(name, width=width, activation="relu6").rows
    assert spec.classes == 1000
    assert folded(model)


@pytest.mark.parametrize(("file", "name", "width", "size", "top_1"), PUBLISHED)
def test_de_quantized_weights_compute_what_litert_does(
    shared: Path, tmp_path: Path, file: str, name: str, width: float, size: int, top_1: float
) -> None:
    path = shared / "weights" / f"{file}.tflite"
    as_float = _as_float(path, tmp_path / "float.tflite")
    photos = sorted((shared / "data/imagenet-sample").glob("*.JPEG"))[::125]
    images = np.stack([load_input(photo, _load(path).spec.input) for photo in photos])
    expected = _litert(as_float, images)[:, 1:]
    for source in (path, as_float):
        model = _load(source)
        with torch.inference_mode():
            logits = model(torch.from_numpy(images)).double()
        # softmax of 1001 classes; without the background its scores keep their ratios
        np.testing.assert_allclose(logits.log_softmax(1), np.log(expected / expected.sum(1, keepdims=True)), atol=2e-3)


@pytest.mark.parametrize(
    ("file", "name", "width", "size", "top_1"), [PUBLISHED[0], pytest.param(*PUBLISHED[2], marks=pytest.mark.slow)]
)
def test_top_1_on_500_photos_is_that_of_litert(
    shared: Path, tmp_path: Path, file: str, name: str, width: float, size: int, top_1: float
) -> None:
    path = shared / "weights" / f"{file}.tflite"
    model = _load(path)
    classes = {one["wnid"]: one["index"] for one in json.loads((shared / "data/imagenet-classes.json").read_text())}
    photos = sorted((shared / "data/imagenet-sample").glob("*.JPEG"))
    answers = np.array([classes[photo.name.partition("_")[0]] for photo in photos])
    images = np.stack([load_input(photo, model.spec.input) for photo in photos])
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(images).contiguous(memory_format=torch.channels_last), 4)
        model.to(memory_format=torch.channels_last)
        ours = torch.cat([model(batch).argmax(1) for batch in batches]).numpy()
    quantized = np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)
    theirs = _litert(path, quantized)[:, 1:].argmax(1)
    assert len(photos) == 500
    assert abs((ours == answers).mean() - (theirs == answers).mean()) <= 0.005
    assert abs((ours == answers).mean() - top_1) < 0.03  # these 500 are half of the 1000
    assert (ours == theirs).mean() >= {"mobilenet_v1": 0.91, "mobilenet_v2": 0.97}[name]


def test_weights_quantized_per_channel_load(shared: Path, tmp_path: Path) -> None:
    path = _as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "channels.tflite", per_channel=True)
    graph = read_graph(path)
    assert max(len(tensor.scale) for tensor in graph.tensors) == 1001
    model = _load(path)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 128, 128)).astype(np.float32)
    expected = _litert(path, image)[:, 1:]
    with torch.inference_mode():
        found = model(torch.from_numpy(image)).softmax(1).numpy()
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("spelled_out", [False, True])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v1", 65),
        ("mobilenet_v2", 65),
        ("mobilenet_v3_large", 64),
        ("mobilenet_v3_small", 65),
        ("mobilenet_v3_large_minimalistic", 65),
        ("mobilenet_v3_small_minimalistic", 64),
    ],
)
def test_float_files_of_every_network_compute_what_litert_does(
    tmp_path: Path, random_weights: Callable[[Model], Model], name: str, size: int, spelled_out: bool
) -> None:
    contract = InputContract(size=size)
    source = create(ModelSpec(backbone(name, width=0.35), LABELS[:7], input=contract))
    random_weights(source)
    path = _written(source, tmp_path / "model.tflite", spelled_out=spelled_out)
    found = assemble(network_of(read_graph(path)), labels=LABELS[:7], weights="model.tflite")
    assert (found.spec.backbone.rows, found.spec.backbone.tail) == (source.spec.backbone.rows, source.spec.backbone.tail)
    assert found.spec.backbone.width == 0.35
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)
    expected = _litert(path, images)
    with torch.inference_mode():
        logits = found(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("kind", "scale", "zero_point", "mean", "std"),
    [
        (schema.TensorType.UINT8, 1 / 128, 128, 0.5, 0.5),  # what TensorFlow's converter writes for [-1, 1]
        (schema.TensorType.INT8, 2 / 255, -1, 0.5, 0.5),
        (schema.TensorType.INT8, 1 / 255, -128, 0.0, 1.0),  # [0, 1]
    ],
)
def test_a_quantized_input_says_its_range(
    shared: Path, tmp_path: Path, kind: int, scale: float, zero_point: int, mean: float, std: float
) -> None:
    path = shared / "weights/mobilenet_v1_0.25_128_quant.tflite"
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    image = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    image.type = kind
    image.quantization.scale, image.quantization.zeroPoint = np.array([scale], np.float32), np.array([zero_point])
    contract = _load(_packed(model, tmp_path / "input.tflite")).spec.input
    assert contract.mean == pytest.approx((mean,) * len(contract.mean), abs=1e-6)
    assert contract.std == pytest.approx((std,) * len(contract.std), abs=1e-6)


@pytest.mark.parametrize(
    ("factor", "offset", "mean", "std"),
    [
        (1 / 127.5, -1.0, 0.5, 0.5),
        (1 / 255, 0.0, 0.0, 1.0),
        (2.0, -1.0, 0.5, 0.5),  # of pixels of 0 to 1
    ],
)
def test_scaling_inside_a_float_file_is_the_input_contract(
    shared: Path, tmp_path: Path, factor: float, offset: float, mean: float, std: float
) -> None:
    """What Keras's Rescaling layer becomes: MUL and ADD before the first convolution."""
    path = _as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "float.tflite")
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph, image = model.subgraphs[0], int(model.subgraphs[0].inputs[0])
    steps, enters = [], image
    for code, value in ((B.MUL, factor), (B.ADD, offset)):
        model.buffers.append(_buffer(np.array([value], np.float32)))
        graph.tensors.append(_tensor("number", (1,), len(model.buffers) - 1))
        graph.tensors.append(_tensor("scaled", (1, 128, 128, 3), 0))
        steps.append(_operator(model, code, [enters, len(graph.tensors) - 2], [len(graph.tensors) - 1]))
        enters = len(graph.tensors) - 1
    for operator in graph.operators:
        operator.inputs = [enters if int(i) == image else int(i) for i in operator.inputs]
    graph.operators = steps + list(graph.operators)
    reading = read(_packed(model, tmp_path / "scaled.tflite"))
    assert reading.known["pixels"] == "read"
    assert reading.model.spec.input.mean == pytest.approx((mean,), abs=1e-6)
    assert reading.model.spec.input.std == pytest.approx((std,), abs=1e-6)


def test_a_float_file_without_scaling_is_said_to_be_guessed(shared: Path, tmp_path: Path) -> None:
    path = _as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "float.tflite")
    assert read(path).known == {"size": "read", "pixels": "guessed", "resize": "guessed", "crop": "guessed"}
    given = read(path, told=Told(pixels="0..1", resize="stretch"))
    assert given.known == {"size": "read", "pixels": "given", "resize": "given", "crop": "guessed"}
    assert given.model.spec.input == InputContract(size=128, mean=(0.0,), std=(1.0,), resize="stretch", crop=1.0)


@pytest.mark.parametrize("which", [0, -1])
def test_a_residual_that_is_left_out_is_refused(shared: Path, which: int) -> None:
    graph = read_graph(shared / "weights/mobilenet_v2_1.0_224_quant.tflite")
    left_out = [operator for operator in graph.operators if operator.kind == "ADD"][which]
    project = max(left_out.inputs)
    others = tuple(
        replace(operator, inputs=tuple(project if i == left_out.outputs[0] else i for i in operator.inputs))
        for operator in graph.operators
        if operator is not left_out
    )
    network_of(graph)
    with pytest.raises(WeightsError, match="has its residuals elsewhere"):
        network_of(replace(graph, operators=others))


def test_a_file_that_ends_before_its_classifier_is_a_backbone(shared: Path) -> None:
    model = read(shared / "weights/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite").model
    whole = backbone("mobilenet_v1", activation="relu6")
    assert (model.spec.backbone.rows, model.spec.labels) == (whole.rows, ())
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 0)


def test_a_segmentation_network_is_refused(shared: Path) -> None:
    with pytest.raises(WeightsError, match="is no MobileNet classifier"):
        network_of(read_graph(shared / "weights/deeplabv3_mnv2_pascal_quant.tflite"))


@pytest.mark.parametrize("keep", [8, 1000, 100_000])
def test_a_file_that_is_cut_off_is_refused(shared: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((shared / "weights/mobilenet_v1_0.25_128_quant.tflite").read_bytes()[:keep])
    with pytest.raises(WeightsError, match="damaged or cut off"):
        network_of(read_graph(path))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.tflite"
    path.write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="is not a TFLite file"):
        network_of(read_graph(path))


def _load(path: Path) -> Model:
    return assemble(network_of(read_graph(path)), labels=LABELS, weights=path.name)


def _litert(path: Path, images: NDArray[np.generic]) -> NDArray[np.float32]:
    """The outputs of LiteRT for images N C H W."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        str(path), num_threads=1, experimental_op_resolver_type=plain if len(images) < 9 else OpResolverType.AUTO
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in images.transpose(0, 2, 3, 1):
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target)[0].copy())
    return np.stack(outputs)


def _as_float(path: Path, target: Path, *, per_channel: bool = False) -> Path:
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
    return _packed(model, target)


def _pack_per_channel(model: schema.ModelT, i: int, values: NDArray[np.float32]) -> None:
    graph = model.subgraphs[0]
    axis = 3 if values.shape[0] == 1 else 0
    scale = np.abs(values).max(tuple(k for k in range(4) if k != axis), keepdims=True).clip(1e-9) / 127
    stored = np.round(values / scale).astype(np.int8)
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.quantizedDimension = scale.reshape(-1), axis
    quantization.zeroPoint = np.zeros(scale.size, np.int64)
    model.buffers.append(_buffer(stored))
    graph.tensors.append(_tensor(f"packed {i}", values.shape, len(model.buffers) - 1, schema.TensorType.INT8))
    graph.tensors[-1].quantization = quantization
    model.buffers[graph.tensors[i].buffer].data = None
    graph.operators.insert(0, _operator(model, B.DEQUANTIZE, [len(graph.tensors) - 1], [i]))


def _written(source: Model, path: Path, *, spelled_out: bool) -> Path:
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
    return _packed(writer.model, path)


class _Writer:
    """A float graph, operator by operator; tensors are N H W C."""

    def __init__(self, size: int, spelled_out: bool) -> None:
        self.spelled_out = spelled_out
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs = [_tensor("image", (1, size, size, 3), 0)], [], [0]
        self.model.subgraphs = [self.graph]

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[i].shape)

    def constant(self, values: NDArray[np.generic]) -> int:
        self.model.buffers.append(_buffer(values))
        kind = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
        self.graph.tensors.append(_tensor("constant", values.shape, len(self.model.buffers) - 1, kind))
        return len(self.graph.tensors) - 1

    def add(self, inputs: list[int], code: int, shape: tuple[int, ...], options: object = None, kind: int = 0) -> int:
        self.graph.tensors.append(_tensor(f"tensor {len(self.graph.tensors)}", shape, 0))
        operator = _operator(self.model, code, inputs, [len(self.graph.tensors) - 1])
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


def _tensor(name: str, shape: tuple[int, ...], buffer: int, kind: int = schema.TensorType.FLOAT32) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, list(shape), buffer, kind
    return tensor


def _buffer(values: NDArray[np.generic]) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _operator(model: schema.ModelT, code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    known = [one.builtinCode for one in model.operatorCodes]
    if code not in known:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        model.operatorCodes.append(entry)
        known.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = known.index(code), inputs, outputs
    return operator


def _packed(model: schema.ModelT, path: Path) -> Path:
    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path

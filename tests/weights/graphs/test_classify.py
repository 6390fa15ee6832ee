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
from numpy.typing import NDArray
from tests.weights.graphs.files import LABELS, B, a_buffer, a_tensor, an_operator, as_float, packed, written

from mobilenets.errors import WeightsError
from mobilenets.model import Model, create
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.weights.assemble import assemble
from mobilenets.weights.graphs.classify import network_of
from mobilenets.weights.load import read
from mobilenets.weights.norms import folded
from mobilenets.weights.tflite.read import read_graph
from mobilenets.weights.told import Told

PUBLISHED = [
    # file                          network         width  size  top-1 of the de-quantized weights on 1000 photos
    ("mobilenet_v1_0.25_128_quant", "mobilenet_v1", 0.25, 128, 0.421),
    ("mobilenet_v1_0.75_192_quant", "mobilenet_v1", 0.75, 192, 0.760),
    ("mobilenet_v2_1.0_224_quant", "mobilenet_v2", 1.0, 224, 0.851),
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
    floats = as_float(path, tmp_path / "float.tflite")
    photos = sorted((shared / "data/imagenet-sample").glob("*.JPEG"))[::125]
    images = np.stack([load_input(photo, _load(path).spec.input) for photo in photos])
    expected = _litert(floats, images)[:, 1:]
    for source in (path, floats):
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
    path = as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "channels.tflite", per_channel=True)
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
    path = written(source, tmp_path / "model.tflite", spelled_out=spelled_out)
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
    contract = _load(packed(model, tmp_path / "input.tflite")).spec.input
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
    path = as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "float.tflite")
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph, image = model.subgraphs[0], int(model.subgraphs[0].inputs[0])
    steps, enters = [], image
    for code, value in ((B.MUL, factor), (B.ADD, offset)):
        model.buffers.append(a_buffer(np.array([value], np.float32)))
        graph.tensors.append(a_tensor("number", (1,), len(model.buffers) - 1))
        graph.tensors.append(a_tensor("scaled", (1, 128, 128, 3), 0))
        steps.append(an_operator(model, code, [enters, len(graph.tensors) - 2], [len(graph.tensors) - 1]))
        enters = len(graph.tensors) - 1
    for operator in graph.operators:
        operator.inputs = [enters if int(i) == image else int(i) for i in operator.inputs]
    graph.operators = steps + list(graph.operators)
    reading = read(packed(model, tmp_path / "scaled.tflite"))
    assert reading.known["pixels"] == "read"
    assert reading.model.spec.input.mean == pytest.approx((mean,), abs=1e-6)
    assert reading.model.spec.input.std == pytest.approx((std,), abs=1e-6)


def test_a_float_file_without_scaling_is_said_to_be_guessed(shared: Path, tmp_path: Path) -> None:
    path = as_float(shared / "weights/mobilenet_v1_0.25_128_quant.tflite", tmp_path / "float.tflite")
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
    with pytest.raises(WeightsError, match="is not a MobileNet classifier"):
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

"""DeepLabv3 as TFLite: the published file, and what else converters write, made from it by LiteRT's own schema.

LiteRT runs every file as the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from flatbuffers import Builder
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.readers.cityscapes import LABELS as CITYSCAPES
from mobilenets.errors import WeightsError
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.families import backbone
from mobilenets.specs.model import HALF, InputContract
from mobilenets.tasks.segment import enlarge
from mobilenets.weights.graphs.segment import network_of
from mobilenets.weights.labels import PASCAL_VOC
from mobilenets.weights.load import load
from mobilenets.weights.norms import folded
from mobilenets.weights.tflite.read import read_graph

B = schema.BuiltinOperator
FILE = "weights/deeplabv3_mnv2_pascal_quant.tflite"
BIRD = PASCAL_VOC.index("bird")
LOGITS = 182  # the tensor before the first enlargement; its values are the classifier's outputs
LAST_MAP, JOINED = 170, 178


@pytest.fixture(scope="module")
def model(shared: Path) -> Model:
    return load(shared / FILE)


@pytest.fixture(scope="module")
def bird(shared: Path) -> NDArray[np.uint8]:
    """The image at the network's size, H W 3."""
    with Image.open(shared / "data/photos/bird_segmentation.bmp") as image:
        return np.asarray(image.convert("RGB").resize((513, 513), Image.Resampling.BILINEAR))


def test_the_published_file_says_what_it_is(model: Model) -> None:
    spec = model.spec
    expected = backbone("mobilenet_v2", activation="relu6").rows[:-1]
    assert (spec.backbone.name, spec.backbone.rows, spec.backbone.output_stride) == ("mobilenet_v2", expected, 16)
    assert spec.head == DeepLabHead(filters=256, rates=(), align_corners=True, norm_eps=1e-3, norm_momentum=0.003)
    assert spec.input == InputContract(size=513, mean=HALF, std=HALF, resize="stretch", crop=1.0)
    assert spec.labels == PASCAL_VOC
    assert folded(model)


def test_its_input_is_told_by_its_quantization(shared: Path) -> None:
    expected = InputContract(size=513, mean=(0.5,), std=(0.5,), resize="stretch", crop=1.0)
    assert network_of(read_graph(shared / FILE)).input == expected


def test_the_bird_is_where_litert_sees_it(shared: Path, model: Model, bird: NDArray[np.uint8]) -> None:
    theirs = _litert(shared / FILE, bird)
    ours = enlarge(_logits(model, bird), (513, 513), align_corners=True).argmax(1)[0].numpy()
    assert (ours == theirs).mean() >= 0.98
    with Image.open(shared / "data/photos/bird_segmentation_mask.bmp") as image:
        mask = np.asarray(image) > 0
    for found in (ours, theirs):
        large = np.asarray(Image.fromarray(found.astype(np.uint8)).resize(mask.shape[::-1], Image.Resampling.NEAREST)) == BIRD
        assert abs((large & mask).sum() / (large | mask).sum() - 0.917) <= 0.01


def test_a_predictor_gives_the_mask_of_the_bird(shared: Path, model: Model) -> None:
    predictor = Predictor(manifest_of(model.spec), TorchEngine(model))
    found = predictor.predict(shared / "data/photos/bird_segmentation.bmp")
    assert isinstance(found, Segmentation)
    with Image.open(shared / "data/photos/bird_segmentation_mask.bmp") as image:
        mask = np.asarray(image) > 0
    bird = found.classes == BIRD
    assert bird.shape == mask.shape
    assert abs((bird & mask).sum() / (bird | mask).sum() - 0.917) <= 0.01


def test_de_quantized_weights_compute_what_litert_does(
    shared: Path, tmp_path: Path, model: Model, bird: NDArray[np.uint8]
) -> None:
    path = _packed(_until_logits(_as_float(shared / FILE)), tmp_path / "float.tflite")
    expected = _litert(path, _pixels(bird))
    np.testing.assert_allclose(_logits(model, bird)[0].movedim(0, -1), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("edit", ["atrous branches", "dealt out", "dealt out atrous branches"])
def test_what_converters_write_computes_what_litert_does(
    shared: Path, tmp_path: Path, bird: NDArray[np.uint8], edit: str
) -> None:
    made = _as_float(shared / FILE)
    if "atrous" in edit:
        _add_atrous(made, (18, 6))
    if "dealt out" in edit:
        _deal_out(made)
    path = _packed(made, tmp_path / "edited.tflite")
    found = load(path)
    assert isinstance(found.spec.head, DeepLabHead)
    assert found.spec.head.rates == ((6, 18) if "atrous" in edit else ())
    expected = _litert(_packed(_until_logits(made), tmp_path / "logits.tflite"), _pixels(bird))
    np.testing.assert_allclose(_logits(found, bird)[0].movedim(0, -1), expected, atol=1e-4 * np.abs(expected).max())


EDGETPU = "weights/deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite"


def test_image_pooling_by_tile_on_an_edgetpu_backbone_is_read(shared: Path) -> None:
    spec = load(shared / EDGETPU).spec
    assert (spec.backbone.name, spec.backbone.width, spec.backbone.output_stride) == ("mobilenet_edgetpu", 0.75, 16)
    assert spec.labels == CITYSCAPES
    assert spec.head == DeepLabHead(filters=128, rates=(), align_corners=True, norm_eps=1e-3, norm_momentum=0.003)


@pytest.mark.slow
def test_the_edgetpu_network_computes_what_litert_does(shared: Path, tmp_path: Path, bird: NDArray[np.uint8]) -> None:
    made = _as_float(shared / EDGETPU)
    graph = made.subgraphs[0]
    kept = next(
        i for i, operator in enumerate(graph.operators) if isinstance(operator.builtinOptions, schema.ResizeBilinearOptionsT)
    )
    graph.outputs = graph.operators[kept].inputs[:1]
    graph.operators = graph.operators[:kept]
    expected = _litert(_packed(made, tmp_path / "float.tflite"), _pixels(bird))
    found = _logits(load(shared / EDGETPU), bird)[0].movedim(0, -1)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def _corners(made: schema.ModelT) -> None:
    for operator in made.subgraphs[0].operators:
        if isinstance(operator.builtinOptions, schema.ResizeBilinearOptionsT):
            operator.builtinOptions.alignCorners = False


def _undilated(made: schema.ModelT) -> None:
    for operator in made.subgraphs[0].operators:
        if isinstance(operator.builtinOptions, schema.DepthwiseConv2DOptionsT):
            operator.builtinOptions.dilationHFactor = operator.builtinOptions.dilationWFactor = 1


def _linear(made: schema.ModelT) -> None:
    _producer(made, JOINED + 2).builtinOptions.fusedActivationFunction = 0


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (_corners, "from their upper left corners"),
        (_undilated, "strides and dilations are not those of mobilenet_v2 at output stride 16"),
        (_linear, "each with ReLU"),
    ],
)
def test_what_cannot_be_ours_is_refused(shared: Path, tmp_path: Path, edit: Callable[[schema.ModelT], None], why: str) -> None:
    made = _as_float(shared / FILE)
    edit(made)
    with pytest.raises(WeightsError, match=why):
        load(_packed(made, tmp_path / "edited.tflite"))


@torch.inference_mode()
def _logits(model: Model, image: NDArray[np.uint8]) -> torch.Tensor:
    found: torch.Tensor = model(torch.from_numpy(_pixels(image)).movedim(-1, 0)[None])
    return found


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """In -1 to 1, as the file's own scale of 1 / 128 writes them for the quantized network."""
    return (image.astype(np.float32) / 127.5 - 1).astype(np.float32)


def _litert(path: Path, image: NDArray[np.generic]) -> NDArray[np.float32]:
    """The output of LiteRT for one image H W 3."""
    interpreter = Interpreter(
        str(path), num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    found: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return found


def _as_float(path: Path) -> schema.ModelT:
    """A quantized file as float, its one operator of quantization gone."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        stored, quantization = model.buffers[tensor.buffer].data, tensor.quantization
        if quantization is None or quantization.scale is None:
            continue
        if stored is not None:
            kind = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT32: np.int32}[tensor.type]
            whole = np.frombuffer(bytes(bytearray(stored)), kind).reshape(tensor.shape).astype(np.float64)
            values = ((whole - quantization.zeroPoint[0]) * quantization.scale[0]).astype(np.float32)
            model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    quantize = next(one for one in graph.operators if _code(model, one) == B.QUANTIZE)
    graph.operators.remove(quantize)
    for operator in graph.operators:
        operator.inputs = [quantize.inputs[0] if i == quantize.outputs[0] else i for i in operator.inputs]
    return model


def _until_logits(model: schema.ModelT) -> schema.ModelT:
    """The same network without what follows the logits."""
    graph = model.subgraphs[0]
    graph.operators = graph.operators[: graph.operators.index(_producer(model, LOGITS)) + 1]
    graph.outputs = [LOGITS]
    return model


def _add_atrous(model: schema.ModelT, rates: tuple[int, ...]) -> None:
    """3 x 3 branches of random weights, joined after the two there are."""
    generator = np.random.default_rng(0)
    graph, join, project = model.subgraphs[0], _producer(model, JOINED), _producer(model, JOINED + 2)
    for rate in rates:
        weight = _constant(model, generator.normal(0, 0.02, (256, 3, 3, 320)).astype(np.float32))
        bias = _constant(model, generator.normal(0, 0.3, 256).astype(np.float32))
        out = _tensor(model, (1, 33, 33, 256))
        branch = _operator(model, B.CONV_2D, [LAST_MAP, weight, bias], [out])
        branch.builtinOptionsType, branch.builtinOptions = schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT()
        branch.builtinOptions.strideH = branch.builtinOptions.strideW = 1
        branch.builtinOptions.dilationHFactor = branch.builtinOptions.dilationWFactor = rate
        branch.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        graph.operators.insert(graph.operators.index(join), branch)
        join.inputs = [*join.inputs, out]
    channels = 256 * (2 + len(rates))
    graph.tensors[JOINED].shape = [1, 33, 33, channels]
    project.inputs = [
        project.inputs[0],
        _constant(model, generator.normal(0, 0.05, (256, 1, 1, channels)).astype(np.float32)),
        project.inputs[2],
    ]


def _deal_out(model: schema.ModelT) -> None:
    """Dilation spelled out: pixels dealt out over a batch, a plain convolution, pixels collected."""
    graph = model.subgraphs[0]
    for operator in list(graph.operators):
        options = operator.builtinOptions
        rate = getattr(options, "dilationHFactor", 1)
        if rate == 1:
            continue
        x, y = operator.inputs[0], operator.outputs[0]
        side, channels = graph.tensors[x].shape[1], graph.tensors[x].shape[3]
        more = -side % rate
        block = _constant(model, np.array([rate, rate], np.int32))
        pads = _constant(model, np.array([[rate, rate + more]] * 2, np.int32))
        crops = _constant(model, np.array([[0, more]] * 2, np.int32))
        dealt = _tensor(model, (rate**2, *[(side + 2 * rate + more) // rate] * 2, channels))
        result = _tensor(model, (rate**2, *[(side + more) // rate] * 2, graph.tensors[y].shape[3]))
        i = graph.operators.index(operator)
        graph.operators.insert(i, _operator(model, B.SPACE_TO_BATCH_ND, [x, block, pads], [dealt]))
        graph.operators.insert(i + 2, _operator(model, B.BATCH_TO_SPACE_ND, [result, block, crops], [y]))
        operator.inputs, operator.outputs = [dealt, *operator.inputs[1:]], [result]
        options.padding, options.dilationHFactor, options.dilationWFactor = schema.Padding.VALID, 1, 1


def _producer(model: schema.ModelT, tensor: int) -> schema.OperatorT:
    return next(operator for operator in model.subgraphs[0].operators if tensor in list(operator.outputs))


def _code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _constant(model: schema.ModelT, values: NDArray[np.generic]) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    i = _tensor(model, values.shape)
    made = model.subgraphs[0].tensors[i]
    made.buffer = len(model.buffers) - 1
    made.type = schema.TensorType.INT32 if values.dtype == np.int32 else schema.TensorType.FLOAT32
    return i


def _tensor(model: schema.ModelT, shape: tuple[int, ...]) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = "added", list(shape), 0, schema.TensorType.FLOAT32
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _operator(model: schema.ModelT, code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    entry = schema.OperatorCodeT()
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
    model.operatorCodes.append(entry)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, inputs, outputs
    return operator


def _packed(model: schema.ModelT, path: Path) -> Path:
    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path

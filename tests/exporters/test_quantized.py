"""Files of networks in 8-bit integers: in every runtime near the reference executor, whatever the processor and the ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tests.exporters.networks import LABELS

from mobilenets.deploy import file, reference
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.errors import ExportError, GraphError, UnknownNameError
from mobilenets.exporters.compared import Standard, export_compared
from mobilenets.exporters.format import Format
from mobilenets.exporters.onnx import ONNX
from mobilenets.exporters.openvino import OPENVINO
from mobilenets.exporters.program import Program
from mobilenets.exporters.quantized import export_quantized
from mobilenets.exporters.tflite import Ends
from mobilenets.int8.engines import ReferenceEngine
from mobilenets.int8.folder import GRAPH
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.native import NativeEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.openvino import OpenVinoEngine
from mobilenets.runtime.predictor import Predictor

NEAR = 64.0
"""Steps: networks that were never trained amplify every rounding."""


@pytest.mark.parametrize("to", ["onnx", "openvino", "tflite"])
def test_a_quantized_file_is_compared_with_the_reference_and_predicts(to: str, classifier: Graph, tmp_path: Path) -> None:
    parity = export_quantized(classifier, tmp_path, to=to, steps=NEAR)
    [logits] = parity.outputs
    assert logits.steps is not None
    assert logits.steps <= NEAR
    predictor = Predictor.open(tmp_path)
    assert predictor.manifest.precision == "int8"
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    prediction = predictor.predict(image)
    assert isinstance(prediction, Classification)
    assert prediction.label in LABELS


def test_the_native_engine_gives_the_integers_of_the_reference(classifier: Graph, tmp_path: Path) -> None:
    pytest.importorskip("mobilenets_native")
    parity = export_quantized(classifier, tmp_path, to="native")
    assert [output.steps for output in parity.outputs] == [0.0]
    predictor = Predictor.open(tmp_path, engine="native")
    assert predictor.manifest.precision == "int8"
    prediction = predictor.predict(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8))
    assert isinstance(prediction, Classification)
    assert prediction.label in LABELS


def test_a_quantized_folder_is_exported_once_for_a_runtime_that_is_asked_for(classifier: Graph, tmp_path: Path) -> None:
    pytest.importorskip("mobilenets_native")
    file.save(classifier, tmp_path / GRAPH)
    export_quantized(classifier, tmp_path / "export", to="onnx", steps=NEAR)
    for _ in range(2):
        predictor = Predictor.open(tmp_path, engine="native")
        assert isinstance(predictor.engine, NativeEngine)
        assert predictor.manifest.precision == "int8"
    assert (tmp_path / "export" / "model.graph").is_file()
    assert (tmp_path / "export" / "model.onnx").is_file()


@pytest.mark.slow
def test_executorch_gives_every_operator_on_integers_to_xnnpack(classifier: Graph, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    parity = export_quantized(classifier, tmp_path, to="executorch", steps=NEAR)
    assert parity.fast_path is not None
    assert (parity.fast_path.share, parity.fast_path.pieces) == (1.0, 1)
    assert Predictor.open(tmp_path).manifest.precision == "int8"


@pytest.mark.slow
def test_core_ml_packages_keep_weights_in_8_bits(classifier: Graph, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    parity = export_quantized(classifier, tmp_path, to="coreml", steps=NEAR)
    assert sys.platform == "darwin" or "was not run" in parity.note
    stored = sum(path.stat().st_size for path in tmp_path.rglob("weight.bin"))
    count = sum(tensor.size for tensor in classifier.tensors.values() if tensor.dtype == np.int8)
    assert stored < 2 * count + 12_000  # biases and scales besides, each aligned


def test_a_torch_program_of_integers_is_near_the_reference(classifier: Graph) -> None:
    x = np.random.default_rng(0).normal(size=(3, 3, 48, 48)).astype(np.float32)
    with torch.no_grad():
        [made] = Program(classifier).eval()(torch.from_numpy(x))
    step = classifier.quantization[classifier.operators[-1].inputs[0]].scale
    assert np.abs(reference.run(classifier, x)["logits"] - made.numpy()).max() <= 8 * step


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino", "tflite"])
def test_detectors_and_segmenters_go_to_every_runtime_with_and_without_a_tail(
    to: str, detector: Graph, segmenter: Graph, tmp_path: Path
) -> None:
    for graph, tail in ((detector, "-nms"), (segmenter, "-argmax")):
        for kind in (to, f"{to}{tail}"):
            parity = export_quantized(graph, tmp_path / kind, to=kind, steps=NEAR)
            assert {output.name for output in parity.outputs} >= set(graph.outputs)


@pytest.mark.parametrize("ends", ["int8", "uint8"])
def test_integer_ends_stand_for_the_same_reals(ends: Ends, classifier: Graph, tmp_path: Path) -> None:
    export_quantized(classifier, tmp_path / "float", to="tflite", steps=NEAR)
    export_quantized(classifier, tmp_path / ends, to="tflite", steps=NEAR, ends=ends)
    file = tmp_path / ends / "model.tflite"
    details = Interpreter(str(file)).get_input_details() + Interpreter(str(file)).get_output_details()
    assert [detail["dtype"].__name__ for detail in details] == [ends, ends]
    x = np.random.default_rng(0).normal(size=(3, 3, 48, 48)).astype(np.float32)
    step = classifier.quantization[classifier.operators[-1].inputs[0]].scale
    floats, integers = (LiteRtEngine(tmp_path / kind / "model.tflite") for kind in ("float", ends))
    for image in x:
        apart = np.abs(floats.run(image[None])["logits"] - integers.run(image[None])["logits"])
        assert apart.max() <= 2.01 * step


def test_a_network_whose_first_layer_is_in_floats_takes_no_integers(classifier: Graph, tmp_path: Path) -> None:
    [start] = [operator for operator in classifier.operators if operator.inputs == (INPUT,)]
    shortcut = op.Activation(name="extra", inputs=(INPUT,), output="extra", kind="relu")
    graph = replace(classifier, operators=(shortcut, start, *classifier.operators[1:]))
    with pytest.raises((GraphError, ExportError), match="its first layer computes in floats"):
        export_quantized(graph, tmp_path, to="tflite", ends="int8")


def test_what_differs_by_more_steps_leaves_no_file(classifier: Graph, tmp_path: Path) -> None:
    first = next(operator for operator in classifier.operators if isinstance(operator, op.Weighted))
    other = replace(classifier, tensors={**classifier.tensors, first.weight: -classifier.tensors[first.weight].astype(np.int8)})
    standard = Standard(classifier, ReferenceEngine(other), tolerance=0.05, steps=4)
    with pytest.raises(ExportError, match=r"'logits' differs from the integer reference by up to \d+ steps of 256") as error:
        export_compared(standard, tmp_path / "model.onnx", ONNX)
    assert error.value.hint == "the file was not kept; a larger --steps accepts it"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "ends", "says"), [("tflite-half", "float", "--to tflite"), ("onnx", "int8", "--to tflite")])
def test_what_integers_cannot_be_is_refused(to: str, ends: Ends, says: str, classifier: Graph, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as error:
        export_quantized(classifier, tmp_path, to=to, ends=ends)
    assert says in error.value.hint
    with pytest.raises(UnknownNameError):
        export_quantized(classifier, tmp_path, to="tflight")


@pytest.fixture
def loud(classifier: Graph) -> Graph:
    """A convolution whose neighboring products, 255 times 127 twice, do not fit 16 bits."""
    read, made = Quantization((1 / 255,), -128), Quantization((0.2,), -128)
    tensors: dict[str, NDArray[Any]] = {"w": np.full((4, 8, 1, 1), 127, np.int8), "b": np.zeros(4, np.int32)}
    tensors["w"][:, 4:] = -100
    operators = (
        op.Quantize(name="start", inputs=(INPUT,), output="start"),
        op.Conv(name="wide", inputs=("start",), output="wide", weight="w0", bias="b0"),
        op.Conv(name="conv", inputs=("wide",), output="conv", weight="w", bias="b"),
        op.Pool(name="mean", inputs=("conv",), output="mean", kernel=(48, 48)),
        op.Flatten(name="row", inputs=("mean",), output="row"),
        op.Dequantize(name="end", inputs=("row",), output="end"),
    )
    tensors |= {"w0": np.full((8, 3, 1, 1), 40, np.int8), "b0": np.zeros(8, np.int32)}
    scales = {"start": read, "wide": read, "conv": made, "mean": made, "row": made}
    scales |= {"w0": Quantization((1 / 100,)), "w": Quantization((1 / 127,))}
    graph = replace(classifier, operators=operators, tensors=tensors, outputs={"logits": "end"}, quantization=scales)
    graph.check()
    return graph


@pytest.mark.parametrize(("format", "engine", "file"), [(ONNX, OnnxEngine, "a.onnx"), (OPENVINO, OpenVinoEngine, "a.xml")])
def test_no_processor_cuts_off_sums_of_products(
    format: Format, engine: Callable[[Path, int | None], Engine], file: str, loud: Graph, tmp_path: Path
) -> None:
    format.write(loud, tmp_path / file, None)
    x = np.ones((1, 3, 48, 48), np.float32)
    expected = reference.run(loud, x)["logits"]
    assert expected.max() > 0.4
    for threads in (None, 1):
        np.testing.assert_allclose(engine(tmp_path / file, threads).run(x)["logits"], expected, atol=0.21)
        if file.endswith(".onnx"):
            np.testing.assert_allclose(OpenVinoEngine(tmp_path / file, threads).run(x)["logits"], expected, atol=0.21)


def test_an_engine_says_how_much_is_computed_in_integers(classifier: Graph, tmp_path: Path) -> None:
    parity = export_quantized(classifier, tmp_path, to="onnx", steps=NEAR)
    assert parity.fast_path is not None
    assert (parity.fast_path.name, parity.fast_path.share) == ("integer arithmetic", 1.0)
    gate = next(operator for operator in classifier.operators if isinstance(operator, op.Activation))
    swish = replace(gate, kind="hard_swish")  # on integers no kernel of ONNX Runtime
    operators = tuple(swish if operator is gate else operator for operator in classifier.operators)
    ONNX.write(replace(classifier, operators=operators), tmp_path / "island.onnx", None)
    path = OnnxEngine(tmp_path / "island.onnx").fast_path()
    assert dict(path.slow) == {"QuantizeLinear": 1, "DequantizeLinear": 1, "HardSigmoid": 1, "Mul": 1}

"""Boxes from inside an exported file are those that NumPy decodes from the outputs, in every runtime that has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.tails import with_nms
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.errors import ExportError
from mobilenets.exporters.agreement import compare_detections
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.onnx import ONNX
from mobilenets.exporters.openvino import write_openvino
from mobilenets.exporters.table import EXPORTERS, export
from mobilenets.model import Model, create
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import Detections, decode_detections
from mobilenets.runtime.engines.base import Outputs
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.openvino import OpenVinoEngine
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.specs.ssd import SsdHead, ssd_anchors, ssdlite

HEAD = SsdHead(
    maps=("s16", "s32"), strides=(16, 32), anchors=ssd_anchors(2, smallest=0), extras=(), candidates=30, detections=25, iou=0.45
)
CONTRACT = InputContract(size=96, wide=64, resize="stretch", crop=1.0)
PLAIN = BackboneSpec(
    "plain", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2), Bottleneck(32, 8, stride=2), Bottleneck(48, 12, stride=2))
)


def manifest_of(head: SsdHead = HEAD, classes: int = 4) -> Manifest:
    return Manifest("m", tuple(f"kind {i}" for i in range(classes)), CONTRACT, head)


def bare(manifest: Manifest) -> Graph:
    """A graph whose outputs are its input: logits and offsets at every anchor."""
    assert isinstance(manifest.head, SsdHead)
    columns = manifest.head.columns(len(manifest.labels))
    same = np.eye(columns + 4, dtype=np.float32)[:, :, np.newaxis, np.newaxis]
    operators = (
        op.Conv(name="l", inputs=(INPUT,), output="l", weight="lw", bias="lb"),
        op.Rows(name="logits", inputs=("l",), output="logits", columns=columns),
        op.Conv(name="o", inputs=(INPUT,), output="o", weight="ow", bias="ob"),
        op.Rows(name="offsets", inputs=("o",), output="offsets", columns=4),
    )
    tensors = {
        "lw": same[:columns],
        "lb": np.zeros(columns, np.float32),
        "ow": same[columns:],
        "ob": np.zeros(4, np.float32),
    }
    return Graph(manifest, operators, tensors, {"logits": "logits", "offsets": "offsets"})


def with_boxes(manifest: Manifest) -> Graph:
    """`bare` with non-maximum suppression, which takes the input of `bare` in place of an image."""
    graph = with_nms(bare(manifest))
    assert isinstance(manifest.head, SsdHead)
    count, columns = len(anchors(manifest.head, CONTRACT.shape)), manifest.head.columns(len(manifest.labels))
    values = (0.5,) * (columns + 4)
    contract = InputContract(size=count, wide=1, channels=columns + 4, mean=values, std=values, resize="stretch", crop=1.0)
    return replace(graph, manifest=replace(manifest, input=contract))


def taken(outputs: Outputs) -> NDArray[np.float32]:
    """The input of such graphs: N C A 1."""
    joined = np.concatenate([outputs["logits"], outputs["offsets"]], axis=2)
    return np.ascontiguousarray(joined.transpose(0, 2, 1)[..., np.newaxis])


def by_reference(graph: Graph, x: NDArray[np.float32], folder: Path) -> Outputs:
    return reference.run(graph, x)


def by_onnxruntime(graph: Graph, x: NDArray[np.float32], folder: Path) -> Outputs:
    onnx.save(to_onnx(graph), folder / "nms.onnx")
    return OnnxEngine(folder / "nms.onnx").run(x)


def by_openvino(graph: Graph, x: NDArray[np.float32], folder: Path) -> Outputs:
    write_openvino(graph, folder / "nms.xml")
    return OpenVinoEngine(folder / "nms.xml", threads=1).run(x)


def by_litert(graph: Graph, x: NDArray[np.float32], folder: Path) -> Outputs:
    (folder / "nms.tflite").write_bytes(to_tflite(graph))
    return Gate(LiteRtEngine(folder / "nms.tflite"), 1).run(x)


RUNTIMES = {"reference": by_reference, "onnxruntime": by_onnxruntime, "openvino": by_openvino, "litert": by_litert}


def outputs_of(manifest: Manifest, n: int, *, seed: int = 0, spread: float = 1.5) -> dict[str, NDArray[np.float32]]:
    assert isinstance(manifest.head, SsdHead)
    generator = np.random.default_rng(seed)
    count, columns = len(anchors(manifest.head, CONTRACT.shape)), manifest.head.columns(len(manifest.labels))
    logits = generator.normal(0, spread, (n, count, columns)).astype(np.float32)
    return {"logits": logits, "offsets": generator.normal(0, 1.5, (n, count, 4)).astype(np.float32)}


def both(
    manifest: Manifest, outputs: dict[str, NDArray[np.float32]], folder: Path, runtime: str = "onnxruntime"
) -> tuple[list[Detections], list[Detections]]:
    """What NumPy and the graph make of the same outputs, on images of another size."""
    places = [Placement(640, 960, 10, 10, 0, 0)] * len(outputs["logits"])
    found = RUNTIMES[runtime](with_boxes(manifest), taken(outputs), folder)
    return decode_detections(outputs, manifest, places), decode_detections(found, manifest, places)


def assert_same(expected: Sequence[Detections], found: Sequence[Detections]) -> None:
    for one, other in zip(expected, found, strict=True):
        assert one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=2e-3)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        replace(HEAD, activation="sigmoid"),
        replace(HEAD, class_thresholds=(0.3, 0.0, 0.9, 0.5)),
        replace(HEAD, candidates=1000, detections=1000),
        replace(HEAD, candidates=3, detections=40),
    ],
    ids=["softmax", "sigmoid", "thresholds", "all", "few"],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_detections_are_those_of_numpy(n: int, head: SsdHead, runtime: str, tmp_path: Path) -> None:
    manifest = manifest_of(head)
    expected, found = both(manifest, outputs_of(manifest, n, seed=n), tmp_path, runtime)
    assert all(len(one) for one in expected)
    assert_same(expected, found)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_class_is_enough(runtime: str, tmp_path: Path) -> None:
    manifest = manifest_of(classes=1)
    assert_same(*both(manifest, outputs_of(manifest, 3), tmp_path, runtime))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nothing_found_is_padding_alone(runtime: str, tmp_path: Path) -> None:
    manifest = manifest_of()
    outputs = outputs_of(manifest, 2)
    outputs["logits"][1, :, 0] = 60
    expected, found = both(manifest, outputs, tmp_path, runtime)
    assert_same(expected, found)
    assert len(found[1]) == 0
    outputs["logits"][0, :, 0] = 60
    _, found = both(manifest, outputs, tmp_path, runtime)
    assert [len(one) for one in found] == [0, 0]


def test_equal_scores_come_in_the_same_order(tmp_path: Path) -> None:
    manifest = manifest_of()
    outputs = outputs_of(manifest, 1)
    outputs["logits"][:] = 0
    assert_same(*both(manifest, outputs, tmp_path))


@pytest.fixture(scope="module")
def detector() -> Model:
    labels = ("cat", "dog", "emu")
    spec = ssdlite(PLAIN, labels, size=64, maps=("s8", "s16"), extras=(16,))
    assert isinstance(spec.head, SsdHead)
    return create(replace(spec, head=replace(spec.head, score_threshold=0.05)))


def test_a_detector_is_exported_and_predicts_the_same_boxes(detector: Model, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(image)
    parity = export(detector, tmp_path / "out", images=[image], to="onnx-nms")
    assert parity.passed
    assert [output.name for output in parity.outputs] == ["logits", "offsets", "detections"]
    assert [(one.name, one.unit) for one in parity.agreements] == [("detections", "boxes")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["detector.onnx", "detector.parity.json"]
    export(detector, tmp_path / "out", images=[image])
    with_boxes, raw = (Predictor.open(tmp_path / "out" / name) for name in ("detector.onnx", "model.onnx"))
    assert {output.name for output in onnx.load(tmp_path / "out" / "detector.onnx").graph.output} == {
        "boxes",
        "scores",
        "classes",
    }
    expected, found = raw.predict(image), with_boxes.predict(image)
    assert isinstance(expected, Detections)
    assert isinstance(found, Detections)
    assert len(expected)
    np.testing.assert_allclose(expected.scores, found.scores, atol=1e-5)


def test_a_classifier_has_no_boxes(tmp_path: Path) -> None:
    model = create(ModelSpec(PLAIN, ("cat", "dog"), InputContract(size=32)))
    with pytest.raises(ExportError, match="'plain' is a classifier: only detectors have boxes") as error:
        export(model, tmp_path, to="onnx-nms")
    assert error.value.hint == "leave --nms out"
    assert list(tmp_path.iterdir()) == []


def test_a_segmenter_is_told_what_it_has(tmp_path: Path) -> None:
    model = create(lraspp(PLAIN, ("cat", "dog"), filters=8, size=64))
    with pytest.raises(ExportError, match="'plain' is a segmenter: only detectors have boxes") as error:
        export(model, tmp_path, to="onnx-nms")
    assert error.value.hint == "--argmax gives the class of each pixel"


def test_boxes_that_differ_leave_no_file(detector: Model, tmp_path: Path) -> None:
    def overlapping(graph: Graph, path: Path, batch: int | None) -> None:
        operators = tuple(
            replace(operator, iou=0.1) if isinstance(operator, op.Nms) else operator for operator in graph.operators
        )
        ONNX.write(replace(graph, operators=operators), path, batch)

    path = tmp_path / "out" / "detector.onnx"
    with pytest.raises(ExportError, match=r"boxes differ between the model and the exported network; at most 1\.0% may"):
        export_checked(detector, path, replace(ONNX, write=overlapping), tail="nms")
    assert list(path.parent.iterdir()) == []


def test_other_boxes_or_scores_are_found_out() -> None:
    manifest = manifest_of()
    outputs = outputs_of(manifest, 4)
    found = reference.run(with_boxes(manifest), taken(outputs))
    (same,), agreement = compare_detections([(outputs, found)], manifest)
    assert same.name == "detections"
    assert same.max_rel < 1e-6
    assert agreement.total == 2 * 4 * HEAD.detections
    assert (agreement.differing, agreement.passed) == (0, True)
    other = reference.run(with_boxes(manifest_of(replace(HEAD, iou=0.2))), taken(outputs))
    _, agreement = compare_detections([(outputs, other)], manifest)
    assert not agreement.passed


@pytest.mark.parametrize("to", ["openvino", "tflite"])
def test_a_detector_with_boxes_inside_predicts_the_same_in_other_runtimes(detector: Model, to: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8))
    image.save(tmp_path / "image.png")
    parity = export(detector, tmp_path, images=[tmp_path / "image.png"], to=f"{to}-nms")
    assert [output.name for output in parity.outputs] == ["logits", "offsets", "detections"]
    export(detector, tmp_path, to="onnx")
    with_boxes_inside = Predictor.open(tmp_path / EXPORTERS[f"{to}-nms"].file)
    expected, found = Predictor.open(tmp_path / "model.onnx").predict(image), with_boxes_inside.predict(image)
    assert isinstance(expected, Detections)
    assert isinstance(found, Detections)
    assert len(expected)
    np.testing.assert_allclose(expected.scores, found.scores, atol=1e-5)


@pytest.mark.parametrize("to", ["executorch", "coreml"])
def test_runtimes_without_non_maximum_suppression_say_so(detector: Model, to: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"so (ExecuTorch|Core ML Tools) cannot take --nms") as error:
        export(detector, tmp_path, to=f"{to}-nms")
    assert "export to onnx, openvino or tflite" in error.value.hint
    assert list(tmp_path.iterdir()) == []

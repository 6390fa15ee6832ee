"""Boxes from inside the ONNX file are those that NumPy decodes from the network's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.errors import ExportError
from mobilenets.exporters.onnx_nms import compare_detections, export_onnx_nms, with_nms
from mobilenets.exporters.onnx_tail import export_with_tail
from mobilenets.exporters.table import export
from mobilenets.model import Model, create
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import Detections, decode_detections
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import METADATA_KEY, Manifest
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


class Bare(Engine):
    """An ONNX model of one input, which need not be an image."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        return dict(zip(self.outputs, self._session.run(self.outputs, {"image": batch}), strict=True))


def manifest_of(head: SsdHead = HEAD, classes: int = 4) -> Manifest:
    return Manifest("m", tuple(f"kind {i}" for i in range(classes)), CONTRACT, head)


def bare(manifest: Manifest) -> onnx.ModelProto:
    """A model whose outputs are its inputs: logits and offsets at every anchor."""
    assert isinstance(manifest.head, SsdHead)
    count, columns = len(anchors(manifest.head, CONTRACT.shape)), manifest.head.columns(len(manifest.labels))
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["image", "first", "middle", "axis"], ["logits"]),
            helper.make_node("Slice", ["image", "middle", "end", "axis"], ["offsets"]),
        ],
        "bare",
        [helper.make_tensor_value_info("image", floats, ["batch", count, columns + 4])],
        [
            helper.make_tensor_value_info("logits", floats, ["batch", count, columns]),
            helper.make_tensor_value_info("offsets", floats, ["batch", count, 4]),
        ],
        [
            helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value])
            for name, value in (("first", 0), ("middle", columns), ("end", columns + 4), ("axis", 2))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    return model


def outputs_of(manifest: Manifest, n: int, *, seed: int = 0, spread: float = 1.5) -> dict[str, NDArray[np.float32]]:
    assert isinstance(manifest.head, SsdHead)
    generator = np.random.default_rng(seed)
    count, columns = len(anchors(manifest.head, CONTRACT.shape)), manifest.head.columns(len(manifest.labels))
    logits = generator.normal(0, spread, (n, count, columns)).astype(np.float32)
    return {"logits": logits, "offsets": generator.normal(0, 1.5, (n, count, 4)).astype(np.float32)}


def both(
    manifest: Manifest, outputs: dict[str, NDArray[np.float32]], folder: Path
) -> tuple[list[Detections], list[Detections]]:
    """What NumPy and the graph make of the same outputs, on images of another size."""
    onnx.save(with_nms(bare(manifest), manifest), folder / "nms.onnx")
    engine = Bare(folder / "nms.onnx")
    places = [Placement(640, 960, 10, 10, 0, 0)] * len(outputs["logits"])
    found = engine.run(np.concatenate([outputs["logits"], outputs["offsets"]], axis=2))
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
def test_detections_are_those_of_numpy(n: int, head: SsdHead, tmp_path: Path) -> None:
    manifest = manifest_of(head)
    expected, found = both(manifest, outputs_of(manifest, n, seed=n), tmp_path)
    assert all(len(one) for one in expected)
    assert_same(expected, found)


def test_one_class_is_enough(tmp_path: Path) -> None:
    manifest = manifest_of(classes=1)
    assert_same(*both(manifest, outputs_of(manifest, 3), tmp_path))


def test_nothing_found_is_padding_alone(tmp_path: Path) -> None:
    manifest = manifest_of()
    outputs = outputs_of(manifest, 2)
    outputs["logits"][1, :, 0] = 60
    expected, found = both(manifest, outputs, tmp_path)
    assert_same(expected, found)
    assert len(found[1]) == 0
    outputs["logits"][0, :, 0] = 60
    _, found = both(manifest, outputs, tmp_path)
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
    with pytest.raises(ExportError, match="'plain' is to classify: only detectors have boxes") as error:
        export_onnx_nms(model, tmp_path / "model.onnx")
    assert error.value.hint == "leave --nms out"
    assert list(tmp_path.iterdir()) == []


def test_a_segmenter_is_told_what_it_has(tmp_path: Path) -> None:
    model = create(lraspp(PLAIN, ("cat", "dog"), filters=8, size=64))
    with pytest.raises(ExportError, match="'plain' is to segment: only detectors have boxes") as error:
        export_onnx_nms(model, tmp_path / "model.onnx")
    assert error.value.hint == "--argmax gives the class of each pixel"


def test_boxes_that_differ_leave_no_file(detector: Model, tmp_path: Path) -> None:
    def overlapping(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
        assert isinstance(manifest.head, SsdHead)
        return with_nms(model, replace(manifest, head=replace(manifest.head, iou=0.1)))

    path = tmp_path / "out" / "detector.onnx"
    with pytest.raises(ExportError, match=r"boxes differ between the model and the exported network; 1\.0% may"):
        export_with_tail(detector, path, extend=overlapping, compare=compare_detections, images=(), tolerance=1e-4)
    assert list(path.parent.iterdir()) == []


def test_other_boxes_or_scores_are_found_out(tmp_path: Path) -> None:
    manifest = manifest_of()
    outputs = outputs_of(manifest, 4)
    batch = np.concatenate([outputs["logits"], outputs["offsets"]], axis=2)
    onnx.save(bare(manifest), tmp_path / "raw.onnx")
    raw = Bare(tmp_path / "raw.onnx")
    onnx.save(with_nms(bare(manifest), manifest), tmp_path / "same.onnx")
    (same,), agreement = compare_detections(raw, Bare(tmp_path / "same.onnx"), iter([batch]), manifest)
    assert same.name == "detections"
    assert same.max_rel < 1e-6
    assert agreement.total == 2 * 4 * HEAD.detections
    assert (agreement.differing, agreement.passed) == (0, True)
    onnx.save(with_nms(bare(manifest), manifest_of(replace(HEAD, iou=0.2))), tmp_path / "other.onnx")
    _, agreement = compare_detections(raw, Bare(tmp_path / "other.onnx"), iter([batch]), manifest)
    assert not agreement.passed

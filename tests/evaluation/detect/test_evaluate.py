from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilenets
from mobilenets.data.boxes import Box
from mobilenets.data.samples import Sample
from mobilenets.errors import CheckpointError, DataError, UnknownNameError
from mobilenets.evaluation.detect.evaluate import DetectionReport, evaluate_detection
from mobilenets.evaluation.detect.thresholds import UNKNOWN_THRESHOLD
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.ssd import SsdHead

LABELS = ("rose", "sky")
SIDE = 40  # px of a cell on the images


def cell(column: int, row: int, label: int = 0, *, difficult: bool = False) -> Box:
    return Box(label, column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE, difficult)


@dataclass(frozen=True)
class Grid(Sample):
    """An image of 3 x 3 cells, black but for the colors at some, without a file."""

    colors: Mapping[tuple[int, int], str] = field(default_factory=dict)
    broken: bool = False

    def read(self) -> bytes:
        if self.broken:
            raise FileNotFoundError(2, "No such file or directory")
        image = Image.new("RGB", (3 * SIDE, 3 * SIDE))
        for (column, row), color in self.colors.items():
            image.paste(color, (column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()


def cells(name: str, colors: Mapping[tuple[int, int], str], boxes: tuple[Box, ...], *, broken: bool = False) -> Grid:
    return Grid(Path(name), -1, "test", name=name, boxes=boxes, colors=colors, broken=broken)


IMAGES = (
    cells("right", {(0, 0): "red", (2, 2): "blue"}, (cell(0, 0), cell(2, 2, 1))),
    cells("missed", {(1, 1): "red"}, (cell(1, 1), cell(0, 2))),
    cells("false", {(1, 0): "red", (0, 1): "red"}, (cell(1, 0),)),
    cells("confused", {(0, 0): "blue", (2, 0): "red"}, (cell(0, 0), cell(2, 0))),
    cells("difficult", {(0, 0): "red"}, (cell(0, 0, difficult=True), Box(0, 5, 5, 5, 9))),
)


@pytest.fixture
def predictor(cell_model: Path) -> Predictor:
    return Predictor.open(cell_model, threads=1)


@pytest.fixture
def report(predictor: Predictor) -> DetectionReport:
    return evaluate_detection(predictor, IMAGES, LABELS)


def test_the_public_evaluate_measures_detectors(predictor: Predictor) -> None:
    report = mobilenets.evaluate(predictor, IMAGES[:1], LABELS)
    assert isinstance(report, DetectionReport)
    assert report.metric("map50").value == pytest.approx(1)


def test_a_detector_that_finds_everything_is_perfect(predictor: Predictor) -> None:
    report = evaluate_detection(predictor, IMAGES[:1], LABELS)
    assert [report.metric(name).value for name in ("map50", "map", "map75", "recall", "voc", "voc_2007")] == pytest.approx(
        [1] * 6
    )
    assert report.worst() == ()
    assert report.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_counts_by_hand(report: DetectionReport) -> None:
    assert report.confusion.tolist() == [[4, 1, 1], [0, 1, 0], [1, 0, 0]]
    rose, sky = report.classes
    assert [rose.support, rose.precision, rose.recall] == pytest.approx([6, 4 / 5, 4 / 6])
    assert [sky.support, sky.precision, sky.recall, sky.f1] == pytest.approx([1, 1 / 2, 1, 2 / 3])
    assert "7 objects; overlap 0.50; 1 without area left out" in report.metric("map50").note


def test_sizes_that_do_not_occur_are_not_among_the_metrics(report: DetectionReport) -> None:
    assert "map_medium" in [metric.name for metric in report.metrics]  # 40 x 40 px
    with pytest.raises(UnknownNameError):
        report.metric("map_large")


def test_the_interval_holds_the_value(report: DetectionReport) -> None:
    metric = report.metric("map50")
    assert metric.interval
    assert metric.interval.low <= metric.value <= metric.interval.high
    assert metric.interval.low < metric.interval.high


def test_the_worst_images_come_first(report: DetectionReport) -> None:
    verdicts = report.worst(5)
    assert {verdict.name for verdict in verdicts} == {"missed", "false", "confused"}
    missed = next(verdict for verdict in verdicts if verdict.name == "missed")
    assert (missed.severity, missed.missed.tolist(), len(missed.hits)) == (1, [1], 1)
    assert verdicts[0].name == "missed"  # a miss is a whole point, a false positive its score


def test_thresholds_are_the_models_where_it_has_them(predictor: Predictor) -> None:
    head = predictor.manifest.head
    assert isinstance(head, SsdHead)
    predictor.manifest = replace(predictor.manifest, head=replace(head, class_thresholds=(0.995, 0.5)))
    report = evaluate_detection(predictor, IMAGES, LABELS)
    assert report.thresholds == (0.995, 0.5)
    assert report.classes[0].recall == 0  # roses score 0.98
    assert report.metric("map50").value > 0.5  # which looks at every score
    assert predictor.manifest.head != head


def test_a_class_of_which_nothing_was_found_has_a_threshold_all_the_same(predictor: Predictor) -> None:
    report = evaluate_detection(predictor, [cells("x", {(0, 0): "red"}, (cell(0, 0),))], LABELS)
    assert report.thresholds[1] == UNKNOWN_THRESHOLD


def test_labels_of_the_data_are_matched_by_name(predictor: Predictor) -> None:
    image = cells("x", {(0, 0): "red"}, (cell(0, 0, 1),))
    assert evaluate_detection(predictor, [image], ("sky", "rose")).metric("map50").value == pytest.approx(1)
    with pytest.raises(DataError, match="the data has 'tulip', which the model does not know"):
        evaluate_detection(predictor, [image], ("tulip", "rose"))


def test_what_cannot_be_read_is_named_and_counts_nowhere(predictor: Predictor) -> None:
    done: list[int] = []
    images = (cells("gone", {}, (cell(0, 0),), broken=True), IMAGES[0])
    report = evaluate_detection(predictor, images, LABELS, progress=done.append)
    assert report.unreadable == (("gone", "No such file or directory"),)
    assert [len(report), report.metric("map50").value, sum(done)] == pytest.approx([1, 1, 2])
    with pytest.raises(DataError, match="none of the 1 images could be read"):
        evaluate_detection(predictor, images[:1], LABELS)


def test_a_classifier_is_refused(color_model: Path) -> None:
    with pytest.raises(CheckpointError, match="'color' is not a detector"):
        evaluate_detection(Predictor.open(color_model), IMAGES, LABELS)


def test_a_file_with_its_thresholds_inside_says_so(predictor: Predictor, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from mobilenets.deploy import operators as op
    from mobilenets.deploy.graph import INPUT, Graph
    from mobilenets.deploy.tails import with_nms
    from mobilenets.deploy.write_onnx import to_onnx

    head = predictor.manifest.head
    assert isinstance(head, SsdHead)
    manifest = replace(predictor.manifest, head=replace(head, class_thresholds=(0.5, 0.995)))
    tensors = {  # the network of `cell_model`
        "lw": np.array([[0, 0, 0], [4, 0, -4], [-4, 0, 4]], np.float32)[:, :, np.newaxis, np.newaxis],
        "lb": np.array([0, -4, -4], np.float32),
        "ow": np.zeros((4, 3, 1, 1), np.float32),
        "ob": np.zeros(4, np.float32),
    }
    operators = (
        op.Pool(name="cells", inputs=(INPUT,), output="cells", kernel=(32, 32), stride=(32, 32)),
        op.Conv(name="l", inputs=("cells",), output="l", weight="lw", bias="lb"),
        op.Rows(name="logits", inputs=("l",), output="logits", columns=3),
        op.Conv(name="o", inputs=("cells",), output="o", weight="ow", bias="ob"),
        op.Rows(name="offsets", inputs=("o",), output="offsets", columns=4),
    )
    graph = Graph(manifest, operators, tensors, {"logits": "logits", "offsets": "offsets"})
    onnx.save(to_onnx(with_nms(graph)), tmp_path / "detector.onnx")
    report = evaluate_detection(Predictor.open(tmp_path / "detector.onnx"), IMAGES[:1], LABELS)
    assert report.metric("map50").value == pytest.approx(0.5)  # the sky scores 0.98
    assert "only scores above the thresholds inside the file" in report.metric("map50").note

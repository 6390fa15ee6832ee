"""The parts of a quantization: answers, the noise of each layer, the gate's arithmetic, and doubts about images."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.int8.conftest import COLORS, CONTRACT, color_graph, hard_graph, write_images

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantize.prepare import prepared
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.ranges import snapped
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.errors import DataError
from mobilenets.int8.answers import same
from mobilenets.int8.doubts import doubts, neighbor_correlation
from mobilenets.int8.engines import _WRITERS, ReferenceEngine, Running, on_runtime_of, running, signal_to_noise
from mobilenets.int8.flow import Latency, quantized
from mobilenets.int8.folder import about, read_about, write
from mobilenets.int8.gate import _next
from mobilenets.int8.images import MOST_BYTES, affordable, drawn, inputs
from mobilenets.int8.sensitivity import Sensitivity, images_of, layers_of, sensitivities
from mobilenets.int8.slower import why_slower
from mobilenets.int8.truth import SameAnswers
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.engines.native import NativeEngine
from mobilenets.runtime.machine import Machine
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.telling import Telling, no_bar


def _images(count: int, *, contrast: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """Smooth images around grey, N 3 16 16."""
    small = np.random.default_rng(seed).normal(size=(count, 3, 4, 4))
    wide = np.repeat(np.repeat(small, 4, 2), 4, 3)
    return np.clip(0.5 + 0.15 * contrast * wide, 0, 1).astype(np.float32)


def _found(boxes: list[list[float]], classes: list[int]) -> Detections:
    return Detections(
        ("a", "b"),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32),
        np.array(classes, np.int64),
    )


def _said(*scores: float) -> Classification:
    return Classification(("a", "b"), np.array(scores, np.float32), np.array(scores, np.float32))


def test_classifiers_give_the_same_answer_if_the_label_is_the_same() -> None:
    assert same(_said(0.9, 0.1), _said(0.6, 0.4)) == 1
    assert same(_said(0.9, 0.1), _said(0.4, 0.6)) == 0


def test_detectors_agree_by_the_boxes_that_both_have() -> None:
    one, other = [0.0, 0.0, 10.0, 10.0], [100.0, 0.0, 110.0, 10.0]
    assert same(_found([], []), _found([], [])) == 1
    assert same(_found([one], [0]), _found([], [])) == 0
    assert same(_found([one, other], [0, 1]), _found([[0, 0, 10, 9]], [0])) == pytest.approx(2 / 3)  # one of three is alone
    assert same(_found([one], [0]), _found([one], [1])) == 0  # another label
    assert same(_found([one], [0]), _found([[0, 0, 10, 4]], [0])) == 0  # an overlap of 0.4
    assert same(_found([one, one], [0, 0]), _found([one], [0])) == pytest.approx(2 / 3)  # a box counts once


def test_segmenters_agree_by_pixels() -> None:
    first, second = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    second[0, :4] = 1
    maps = [
        Segmentation(("a", "b"), ((0, 0, 0), (9, 9, 9)), classes, np.zeros((2, 0, 0), np.float32))
        for classes in (first, second)
    ]
    assert same(*maps) == pytest.approx(16 / 20)


def test_a_layer_alone_makes_the_noise_of_its_own_rounding() -> None:
    graph = Graph(
        Manifest("cut", COLORS, CONTRACT),
        (op.Activation(name="cut", inputs=(INPUT,), output="cut", kind="relu6"),),
        {},
        {"logits": "cut"},
    )
    x = _images(8)
    result = quantize(graph, x)
    [layer] = sensitivities(graph, result, x)
    meant = np.clip(x, 0, 6)
    assert layer.decibels == pytest.approx(decibels(meant, snapped(meant, result.graph.quantization["cut"])), abs=1e-6)
    assert (layer.layer, layer.operators, layer.share) == ("cut", ("cut",), 1.0)


def test_the_layers_that_8_bits_cannot_hold_make_the_noise() -> None:
    graph, x = hard_graph(), _images(8)
    layers = {layer.layer: layer for layer in sensitivities(graph, quantize(graph, x), x)}
    assert layers["wide"].share + layers["twice"].share > 0.9
    assert layers["classify"].decibels > layers["wide"].decibels + 20
    assert sum(layer.share for layer in layers.values()) == pytest.approx(1)


def test_fewer_images_are_looked_at_where_they_are_large() -> None:
    sizes = {16: 8, 224: 8, 320: 3, 513: 2}  # 8 times 224 squared, over the size squared
    for size, expected in sizes.items():
        contract = replace(CONTRACT, size=size)
        assert images_of(replace(color_graph(), manifest=Manifest("colors", COLORS, contract))) == expected


def test_without_a_runtime_the_reference_executor_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.int8.engines._WRITERS", {})
    files = sorted(write_images(tmp_path / "images", each=4).rglob("*.png"))
    said: list[str] = []
    done = quantized(
        color_graph(),
        files[:9],
        SameAnswers(files[9:]),
        count=9,
        limit=0.0,
        folder=tmp_path / "scratch",
        telling=Telling(said=said.append),
    )
    assert done.gated.passed
    assert any("the slow reference executor is used" in line for line in said)
    known = about(done, source="net", seed=0)
    write(done, tmp_path / "int8", known=known, run=None, title="net", next_command="")
    assert read_about(tmp_path / "int8") == known
    assert not (tmp_path / "int8" / "export").exists()
    assert isinstance(Predictor.open(tmp_path / "int8").engine, ReferenceEngine)


def test_a_folder_from_a_machine_with_other_runtimes_is_exported_for_one_of_this(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mobilenets_native")
    files = sorted(write_images(tmp_path / "images", each=4).rglob("*.png"))
    with monkeypatch.context() as there:
        there.setattr("mobilenets.int8.engines._WRITERS", {".graph": _WRITERS[".graph"]})
        done = quantized(color_graph(), files[:9], SameAnswers(files[9:]), count=9, limit=0.0, folder=tmp_path / "scratch")
        write(done, tmp_path / "int8", known=about(done, source="net", seed=0), run=None, title="net", next_command="")
    assert [path.name for path in (tmp_path / "int8" / "export").iterdir()] == ["model.graph"]
    monkeypatch.setitem(sys.modules, "mobilenets_native", None)
    assert type(Predictor.open(tmp_path / "int8").engine).__name__ == "OnnxEngine"
    assert type(Predictor.open(tmp_path / "int8").engine).__name__ == "OnnxEngine"  # by the file that is there now
    assert (tmp_path / "int8" / "export" / "model.onnx").is_file()


def test_a_layer_is_every_operator_that_its_activation_became() -> None:
    tensors = {"w": np.ones((1, 3, 1, 1), np.float32), "b": np.zeros(1, np.float32)}
    graph = Graph(
        Manifest("swish", COLORS, CONTRACT),
        (op.Conv(name="a", inputs=(INPUT,), output="a", weight="w", bias="b", activation="hard_swish"),),
        tensors,
        {"logits": "a"},
    )
    layers = layers_of(graph, prepared(graph))
    assert list(layers) == ["a"]
    assert len(layers["a"]) == 3


def _shares(*shares: float) -> list[Sensitivity]:
    return [Sensitivity(str(i), (str(i),), 20.0, share) for i, share in enumerate(shares)]


@pytest.mark.parametrize(
    ("kept", "points", "limit", "expected"),
    [
        (0, 2.0, 1.0, 1),  # 0.35 of the noise may stay: without the first, 0.3 does
        (0, 10.0, 1.0, 3),  # 0.07 may stay: without three, 0.05 does
        (1, 2.0, 1.0, 2),  # 0.35 of the 0.3 that is left may stay: without one more, a third of it does
        (0, 0.6, 0.5, 1),  # at least one
        (2, 5.0, 0.0, 4),  # nothing may be lost
    ],
)
def test_as_many_layers_are_kept_as_the_drop_asks_for(kept: int, points: float, limit: float, expected: int) -> None:
    assert len(_next(_shares(0.7, 0.2, 0.05, 0.05), kept, points, limit)) == expected


def test_images_that_a_network_was_not_calibrated_for_are_told_with_what_they_do(tmp_path: Path) -> None:
    graph, dim, bright = color_graph(), _images(16, contrast=0.1), _images(8, contrast=3.0, seed=1)
    result = quantize(graph, dim)
    real = Running(ReferenceEngine(graph), "reference", None)
    int8 = Running(ReferenceEngine(result.graph), "reference", None)

    def of(others: NDArray[np.float32] | None) -> tuple[str, ...]:
        return doubts(graph, result, dim, others, real=real, int8=int8, folder=tmp_path, bar=no_bar).warnings

    [warning] = of(bright)
    assert "On images that were not calibrated on" in warning
    assert "lies beyond its range" in warning
    assert of(None) == ()
    assert of(_images(8, contrast=0.1, seed=2)) == ()


def test_noise_is_told_from_photos(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(size=(8, 3, 16, 16)).astype(np.float32)
    assert neighbor_correlation(noise) < 0.1
    assert neighbor_correlation(_images(8)) > 0.6
    assert neighbor_correlation(np.zeros((2, 3, 4, 4), np.float32)) == 1.0
    graph = color_graph()
    result = quantize(graph, noise)
    real, int8 = (Running(ReferenceEngine(one), "reference", None) for one in (graph, result.graph))
    told = doubts(graph, result, noise, None, real=real, int8=int8, folder=tmp_path, bar=no_bar)
    assert "look like noise: neighboring pixels correlate by" in told.warnings[0]


def test_too_few_images_are_told_with_what_more_of_them_gained(tmp_path: Path) -> None:
    graph = color_graph()
    images = np.concatenate(
        [_images(1, contrast=0.2), _images(1, contrast=3.0, seed=1)]
    )  # the first says nothing of the second
    result = quantize(graph, images)
    real, int8 = (Running(ReferenceEngine(one), "reference", None) for one in (graph, result.graph))
    told = doubts(graph, result, images, _images(8, contrast=2.0, seed=2), real=real, int8=int8, folder=tmp_path, bar=no_bar)
    assert told.half_db is not None
    assert told.other_db is not None
    assert told.other_db > told.half_db + 1
    assert any("With half of the 2 calibration images" in warning for warning in told.warnings)


def _write_wrong(graph: Graph, path: Path) -> None:
    tensors = {name: tensor + 1 if tensor.dtype == np.float32 else tensor for name, tensor in graph.tensors.items()}
    path.write_bytes(to_onnx(Graph(graph.manifest, graph.operators, tensors, graph.outputs)).SerializeToString())


def _write_nothing(graph: Graph, path: Path) -> None:
    path.touch()


def test_a_runtime_that_computes_something_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenets.int8.engines._WRITERS", {".onnx": _write_wrong})
    made = running(color_graph(), tmp_path / "model", _images(2))
    assert isinstance(made.engine, ReferenceEngine)
    assert made.file is None
    assert "dB from what" in made.refused[0][1]
    assert list(tmp_path.iterdir()) == []
    assert signal_to_noise(ReferenceEngine(color_graph()), made.engine, _images(4)) == float("inf")


def test_the_answers_that_change_have_an_interval(tmp_path: Path) -> None:
    files = sorted(write_images(tmp_path, each=4).rglob("*.png"))
    right, wrong = (Predictor(color_graph().manifest, ReferenceEngine(graph)) for graph in (color_graph(), _blue_only()))
    drop = SameAnswers(files).drop(right, wrong)
    assert drop.real == 1
    assert drop.int8 == pytest.approx(1 / 3)  # a third is blue
    assert drop.points == pytest.approx(200 / 3)
    assert drop.low < drop.points < drop.high


def _blue_only() -> Graph:
    graph = color_graph()
    return Graph(graph.manifest, graph.operators, {**graph.tensors, "zero": np.array([0, 0, 99], np.float32)}, graph.outputs)


def test_images_are_drawn_by_seed_and_unreadable_ones_are_left_out(tmp_path: Path) -> None:
    files = sorted(write_images(tmp_path, each=3).rglob("*.png"))
    assert drawn(files, 1) == drawn(files, 1) != drawn(files, 2)
    files[0].write_bytes(b"no image")
    read = inputs(files, CONTRACT, 5)
    assert (len(read), read.values.shape) == (5, (5, 3, 16, 16))
    assert read.unreadable[0][0] == str(files[0])
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        inputs(files[:1], CONTRACT, 5)
    with pytest.raises(DataError, match="there are no images to calibrate on"):
        inputs([], CONTRACT, 5)


def test_as_many_images_are_taken_as_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert affordable(color_graph()) == 128
    each = 2 * 3 * 16 * 16 * 4 * 2  # what the convolution reads and makes, in floats, twice
    monkeypatch.setattr("mobilenets.int8.images.MOST_BYTES", 10 * each + 1)
    assert affordable(color_graph()) == 10
    assert MOST_BYTES == 2**31


@pytest.mark.slow
def test_an_exported_file_is_quantized_predicted_and_evaluated_without_torch(tmp_path: Path) -> None:
    net, data, int8 = tmp_path / "net.onnx", tmp_path / "data", tmp_path / "net-int8"
    for seed, part in enumerate(("train", "val")):
        write_images(data / part, each=3, seed=seed)
    net.write_bytes(to_onnx(color_graph()).SerializeToString())
    commands = [
        ["quantize", net, "--data", data],
        ["predict", int8, data / "val" / "red" / "1-0.png"],
        ["evaluate", int8, data],
        ["info", int8],
    ]
    code = f"""
import sys
for name in ("torch", "torchvision", "matplotlib.figure"):
    sys.modules[name] = None
from mobilenets.cli.app import main
for command in {[[str(word) for word in command] for command in commands]}:
    sys.argv = ["mobilenets", *command]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, command
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (int8 / "graph.safetensors").is_file()


def test_a_float_network_is_timed_on_the_reference_executor_where_its_integers_are(tmp_path: Path) -> None:
    graph, images = color_graph(), _images(2)
    real = running(graph, tmp_path / "float", images)
    slow = Running(ReferenceEngine(quantize(graph, images).graph), "the reference executor", None)
    assert real.file is not None
    assert on_runtime_of(slow, graph, real, tmp_path / "again", images).title == slow.title
    assert on_runtime_of(real, graph, slow, tmp_path / "again", images).title == real.title


def test_the_native_engine_measures_where_other_runtimes_compute_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mobilenets_native")
    monkeypatch.setattr("mobilenets.int8.engines._WRITERS", {**_WRITERS, ".onnx": _write_wrong, ".tflite": _write_nothing})
    made = running(color_graph(), tmp_path / "model", _images(2))
    assert isinstance(made.engine, NativeEngine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.graph"]
    assert [title.split()[0] for title, _ in made.refused] == ["ONNX", "LiteRT"]


def test_why_int8_is_slower_is_said(tmp_path: Path) -> None:
    files = sorted(write_images(tmp_path / "images", each=4).rglob("*.png"))
    done = quantized(color_graph(), files[:9], SameAnswers(files[9:]), count=9, limit=0.0, folder=tmp_path / "scratch")
    weak, strong = Machine("Weak 1", 2, "Linux x86_64"), Machine("Strong 1", 2, "Linux x86_64", ("avx512_vnni",))
    fast = replace(done, latency=Latency(real=1.0, int8=1.04))
    assert why_slower(fast, weak) == ""
    slow = replace(done, latency=Latency(real=1.0, int8=1.5))
    assert "int8 takes 1.50 times as long as floats on ONNX Runtime" in why_slower(slow, weak)
    assert "this processor (Weak 1) has no instructions for 8-bit products" in why_slower(slow, weak)
    assert "no instructions" not in why_slower(slow, strong)
    assert "calling each costs time" in why_slower(slow, strong)
    last = replace(done.gated.last, float_layers=("a", "b"))
    kept = replace(done, gated=replace(done.gated, attempts=(last,)), latency=Latency(real=1.0, int8=1.5, whole=0.8))
    assert "2 layers stayed in float: with all of them in integers it takes 0.80 ms" in why_slower(kept, strong)

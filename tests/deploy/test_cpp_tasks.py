"""Exported C++ of segmenters, detectors and attention: the reference's results, in planned memory; and the examples."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.deploy.cpp_networks import (
    FREESTANDING,
    STRICT,
    asked,
    compiled,
    float_graph,
    need,
    network,
    pixels_for,
    prepared,
    ran,
    same,
)
from tests.exporters.networks import SPECS as TASKS

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.arena import fused_plan, plan
from mobilenets.deploy.cpp.schedule import scheduled
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.tails import TAILS, Tail
from mobilenets.int8.engines import ReferenceEngine
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.model import InputContract
from mobilenets.specs.ssd import SsdHead

slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("lraspp", "argmax"),
        ("ssdlite", "nms"),
        *(
            pytest.param(*case, marks=slow)
            for case in [("lraspp", None), ("ssdlite", None), ("deeplab", None), ("aspp", None), ("aspp", "argmax")]
        ),
        pytest.param("hybrid", None, marks=slow),
    ],
)
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(name: str, tail: Tail | None, tmp_path: Path) -> None:
    graph = network(name, in_integers=True, tail=tail)
    pixels = pixels_for(graph)
    x = prepared(graph, pixels)
    expected = reference.run(graph, x)
    program = compiled(graph, tmp_path)
    for images in (x, pixels):
        same(ran(program, graph, images), expected)


@slow
@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("lraspp", None),
        ("lraspp", "argmax"),
        ("ssdlite", None),
        ("ssdlite", "nms"),
        ("deeplab", None),
        ("aspp", "argmax"),
        ("hybrid", None),
    ],
)
def test_a_network_in_floats_is_that_of_the_reference(name: str, tail: Tail | None, tmp_path: Path) -> None:
    graph = network(name, in_integers=False, tail=tail)
    pixels = pixels_for(graph)
    x = prepared(graph, pixels)
    expected = reference.run(graph, x)
    program = compiled(graph, tmp_path)
    for images in (x, pixels):
        for output, numbers in ran(program, graph, images).items():
            if output == "classes":
                np.testing.assert_array_equal(numbers, expected[output])
            else:
                largest = np.abs(expected[output]).max()
                np.testing.assert_allclose(numbers, expected[output], rtol=1e-4, atol=1e-4 * largest)


@pytest.mark.parametrize("in_integers", [False, True], ids=["floats", "integers"])
@pytest.mark.parametrize(("name", "tail"), [("lraspp", "argmax"), ("ssdlite", "nms"), ("lraspp", None), ("ssdlite", None)])
def test_the_arena_is_never_larger_than_a_plan(name: str, tail: Tail | None, in_integers: bool) -> None:
    graph = network(name, in_integers=in_integers, tail=tail)
    assert scheduled(graph).arena_bytes <= min(fused_plan(graph).size_bytes, plan(graph).size_bytes)


def test_large_logits_are_never_made() -> None:
    """Logits as large as the input, 64 x 96 places of 21 classes, would be 516,096 bytes."""
    labels = 21
    spec = replace(TASKS["segment"], labels=tuple(f"label {i}" for i in range(labels)))
    graph = TAILS["argmax"].add(float_graph(spec))
    schedule = scheduled(graph)
    assert "tail.large" not in [graph.operators[i].output for i in schedule.operators]
    assert schedule.arena_bytes == scheduled(float_graph(spec)).arena_bytes  # the tail costs nothing
    assert plan(graph).size_bytes >= 64 * 96 * labels * 4


@pytest.mark.parametrize(
    ("name", "in_integers", "tail", "library"),
    [
        ("lraspp", True, "argmax", set()),
        ("ssdlite", True, "nms", {"expf"}),
        pytest.param("ssdlite", False, "nms", {"expf", "erf"}, marks=slow),
    ],
)
def test_nothing_is_called_but_exponentials_where_there_are_any(
    name: str, in_integers: bool, tail: Tail, library: set[str], tmp_path: Path
) -> None:
    assert asked(network(name, in_integers=in_integers, tail=tail), tmp_path) - FREESTANDING == library
    assert ("`expf`" in (tmp_path / "README.md").read_text()) == bool(library)


def example(graph: Graph, folder: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], *more: str) -> list[str]:
    """What the example prints for an image."""
    need("c++")
    write_cpp(graph, folder)
    Image.fromarray(pixels).save(folder / "image.ppm")
    sources = [str(folder / name) for name in ("network.cpp", "weights.cpp", "example.cpp")]
    subprocess.run(["c++", *STRICT, "-O1", *sources, "-o", str(folder / "example")], check=True)
    said = subprocess.run([folder / "example", folder / "image.ppm", *more], check=True, capture_output=True)
    return said.stdout.decode().splitlines()


def noise(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An image of noise in blocks, H W 3."""
    coarse = np.random.default_rng(0).integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))[:height, :width]


@pytest.mark.parametrize("size", [(80, 120), pytest.param((120, 50), marks=slow)])
def test_the_example_writes_the_class_of_each_pixel_of_the_image(size: tuple[int, int], tmp_path: Path) -> None:
    graph = network("lraspp", in_integers=True, tail="argmax")
    pixels = noise(*size)
    lines = example(graph, tmp_path, pixels, str(tmp_path / "classes.pgm"))
    expected = Predictor(graph.manifest, ReferenceEngine(graph)).predict(pixels)
    assert isinstance(expected, Segmentation)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "classes.pgm")), expected.classes)
    shares = {graph.manifest.labels.index(label): share for label, share in expected.present()}
    assert len(shares) > 1
    assert len("\n".join(lines).split("  ")) == len(shares) + 1  # a label of this model ends with a line
    for share in shares.values():
        assert any(line.endswith(f"  {share:.4f}") for line in lines)


@slow
def test_the_example_of_coarse_logits_takes_the_place_that_a_pixel_lies_in(tmp_path: Path) -> None:
    graph = network("lraspp", in_integers=True)
    pixels = noise(*graph.manifest.input.shape)
    example(graph, tmp_path, pixels, str(tmp_path / "classes.pgm"))
    logits = reference.run(graph, prepared(graph, pixels[np.newaxis]))["logits"]
    expected = np.kron(logits[0].argmax(0), np.ones((64 // logits.shape[2], 96 // logits.shape[3]), np.uint8))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "classes.pgm")), expected)


@pytest.mark.parametrize("size", [(100, 150), pytest.param((150, 70), marks=slow)])
def test_the_example_prints_boxes_on_the_image(size: tuple[int, int], tmp_path: Path) -> None:
    graph = network("ssdlite", in_integers=True, tail="nms")
    pixels = noise(*size)
    said = "\n".join(example(graph, tmp_path, pixels)).replace("\n  ", "  ")  # a label of this model ends with a line
    lines = [line.split("  ") for line in said.splitlines()]
    expected = Predictor(graph.manifest, ReferenceEngine(graph)).predict(pixels)
    assert isinstance(expected, Detections)
    assert len(lines) == len(expected) > 3
    assert [line[0] for line in lines] == [name.strip() for name in expected.names]
    np.testing.assert_allclose([float(line[1]) for line in lines], expected.scores, atol=1e-4)
    boxes = [[float(edge) for edge in line[2:]] for line in lines]
    np.testing.assert_allclose(boxes, expected.boxes, atol=0.06)


@slow
def test_the_example_of_a_detector_without_a_tail_prints_the_best_anchors(tmp_path: Path) -> None:
    graph = network("ssdlite", in_integers=True)
    pixels = noise(*graph.manifest.input.shape)
    said = "\n".join(example(graph, tmp_path, pixels)).replace("\n  ", "  ")
    lines = [line.split("  ") for line in said.splitlines()]
    expected = reference.run(graph, prepared(graph, pixels[np.newaxis]))
    best = expected["logits"][0, :, 1:].max(1)  # the background is first
    order = np.argsort(-best, kind="stable")[:5]
    assert [line[0] for line in lines] == [f"anchor {anchor}" for anchor in order]
    np.testing.assert_allclose([[float(each) for each in line[3:]] for line in lines], expected["offsets"][0, order], atol=1e-4)


@pytest.mark.parametrize("coordinates", [pytest.param("half_pixel", marks=slow), "align_corners"])
def test_classes_are_those_of_the_reference_where_large_logits_are_nearly_equal(
    coordinates: op.Coordinates, tmp_path: Path
) -> None:
    """Logits are whole numbers, as those of integers are, and two classes meet on many pixels."""
    operators = (
        op.Resize(name="large", inputs=("image",), output="large", size=(77, 131), coordinates=coordinates),
        op.ArgMax(name="best", inputs=("large",), output="best"),
    )
    contract = InputContract(size=12, wide=10, mean=(0.0,), std=(1.0,), resize="stretch", crop=1.0)
    graph = Graph(Manifest("ties", ("a", "b", "c"), contract, TASKS["segment"].head), operators, {}, {"classes": "best"})
    x = np.random.default_rng(0).integers(-3, 4, (4, 3, 12, 10)).astype(np.float32) * np.float32(0.0317)
    made = ran(compiled(graph, tmp_path), graph, x)["classes"]
    np.testing.assert_array_equal(made, reference.run(graph, x)["classes"])


@pytest.mark.parametrize(("most", "candidates"), [(10, 4), (100, 1000), pytest.param(7, 25, marks=slow)])
def test_suppression_takes_the_best_of_each_class_and_of_equal_scores_the_first(
    most: int, candidates: int, tmp_path: Path
) -> None:
    """Boxes and scores are taken from an image of 48 anchors; scores are few, so that many are equal."""
    graph = suppression(most, candidates)
    random = np.random.default_rng(most)
    corners = random.integers(0, 12, (2, 2, 6, 8))
    boxes = np.concatenate([corners, corners + random.integers(0, 9, (2, 2, 6, 8))], axis=1)
    x = np.concatenate([boxes, random.integers(0, 6, (2, 4, 6, 8)) / 8], axis=1).astype(np.float32)
    expected = reference.run(graph, x)
    assert 0 < (expected["classes"] >= 0).sum() < expected["classes"].size or most < 20
    made = ran(compiled(graph, tmp_path), graph, x)
    for output, numbers in expected.items():
        np.testing.assert_array_equal(made[output], numbers)


def suppression(most: int, candidates: int) -> Graph:
    """Boxes from the first four channels of an image, and scores of a background and three classes from the others."""
    one_hot = np.eye(8, dtype=np.float32)[:, :, np.newaxis, np.newaxis]
    operators: list[op.Operator] = []
    for name in ("boxes", "scores"):
        operators.append(op.Conv(name=name, inputs=("image",), output=name, weight=f"{name}.weight", bias="zeros"))
        operators.append(op.Rows(name=f"{name}.rows", inputs=(name,), output=f"{name}.rows", columns=4))
    operators.append(
        op.Nms(
            name="nms",
            inputs=("boxes.rows", "scores.rows"),
            output="nms",
            thresholds="thresholds",
            first=1,
            iou=0.3,
            candidates=candidates,
            most=most,
        )
    )
    tensors = {
        "boxes.weight": one_hot[:4],
        "scores.weight": one_hot[4:],
        "zeros": np.zeros(4, np.float32),
        "thresholds": np.array([0.1, 0.2, 0.3], np.float32),
    }
    contract = InputContract(size=6, wide=8, channels=8, mean=(0.0,), std=(1.0,), resize="stretch", crop=1.0)
    head = TASKS["detect"].head
    assert isinstance(head, SsdHead)
    outputs = dict(zip(("boxes", "scores", "classes"), ("nms.boxes", "nms.scores", "nms.classes"), strict=True))
    graph = Graph(Manifest("suppression", ("a", "b", "c"), contract, head), tuple(operators), tensors, outputs)
    graph.check()
    return graph

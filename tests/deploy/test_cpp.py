"""Exported C++ on this machine: the reference executor's results, in the planned memory, from nothing but a compiler."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.deploy.cpp_networks import (
    FREESTANDING,
    MORE,
    NARROW,
    SMALL,
    STRICT,
    asked,
    compiled,
    float_graph,
    int8_graph,
    need,
    network,
    pixels_for,
    prepared,
    ran,
    spec_of,
)

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.arena import fused_plan, plan, resize_of
from mobilenets.deploy.cpp.schedule import RENAMING, needed, scheduled
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.tails import Tail
from mobilenets.errors import GraphError
from mobilenets.int8.engines import ReferenceEngine
from mobilenets.runtime.images.prepare import prepare
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import ClassifierHead, InputContract, Interpolation, ModelSpec, Resize
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

TINY = ModelSpec(
    BackboneSpec("tiny", (Conv(8, 3, 2), Bottleneck(16, 8, stride=2, c_squeeze=8, activation="hard_swish"), Conv(24))),
    ('say "no"', "back\\slash??/", "Lärm 雑音"),
    InputContract(size=24),
)
QUICK = ["v2", "v3 small"]
INT8 = ["v1", "v2 resnet", "v2 grey, 72 x 40", "v3 large", "v4 conv small", *MORE]


@pytest.mark.parametrize("name", [*QUICK, *[pytest.param(name, marks=pytest.mark.slow) for name in INT8]])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(name: str, tmp_path: Path) -> None:
    graph = int8_graph(spec_of(name))
    pixels = pixels_for(graph)
    x = prepared(graph, pixels)
    expected = reference.run(graph, x)["logits"]
    program = compiled(graph, tmp_path)
    for images in (x, pixels):
        np.testing.assert_array_equal(ran(program, graph, images)["logits"], expected)
    assert len(np.unique(expected)) > 3


@pytest.mark.parametrize("name", ["v2", *[pytest.param(name, marks=pytest.mark.slow) for name in ["v3 small", *INT8]]])
def test_a_network_in_floats_is_that_of_the_reference(name: str, tmp_path: Path) -> None:
    graph = float_graph(spec_of(name))
    pixels = pixels_for(graph)
    x = prepared(graph, pixels)
    expected = reference.run(graph, x)["logits"]
    program = compiled(graph, tmp_path)
    for images in (x, pixels):
        np.testing.assert_allclose(
            ran(program, graph, images)["logits"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


@pytest.mark.parametrize(("scales", "activation"), [("any", "linear"), ("powers of two", "relu"), ("large", "linear")])
def test_sums_next_to_where_the_result_changes(scales: str, activation: op.ActivationKind, tmp_path: Path) -> None:
    """Each of 512 classes sees 256 neighboring sums around one where the specification's result changes, at its own scale."""
    random, outputs = np.random.default_rng(0), 512
    low, high = (-0.5, 1.5) if scales == "large" else (-9.5, -1.0)
    factors = np.exp2(random.uniform(low, high, outputs))
    if scales == "powers of two":
        factors = np.exp2(np.round(np.log2(factors)))
    zero_point = int(random.integers(-128, 128)) if activation == "linear" else -128
    sums = np.round((random.integers(-128, 128, outputs) - zero_point + 0.5) / factors).astype(np.int64)
    tensors: dict[str, NDArray[Any]] = {"w": np.ones((outputs, 1, 1, 1), np.int8), "b": (sums - 128).astype(np.int32)}
    quantization = {
        "start": Quantization((1.0,), -128),
        "w": Quantization(tuple(factors.tolist())),
        "out": Quantization((1.0,), zero_point),
        "row": Quantization((1.0,), zero_point),
    }
    operators = (
        op.Quantize(name="start", inputs=("image",), output="start"),
        op.Conv(name="out", inputs=("start",), output="out", weight="w", bias="b", activation=activation),
        op.Flatten(name="row", inputs=("out",), output="row"),
        op.Dequantize(name="end", inputs=("row",), output="end"),
    )
    contract = InputContract(size=1, channels=1, mean=(0.0,), std=(1 / 255,))  # the pixels as they are
    manifest = Manifest("sums", tuple(map(str, range(outputs))), contract)
    graph = Graph(manifest, operators, tensors, {"logits": "end"}, quantization)
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    expected = reference.run(graph, prepared(graph, pixels))["logits"]
    assert len(np.unique(expected)) > 200
    np.testing.assert_array_equal(ran(compiled(graph, tmp_path), graph, pixels)["logits"], expected)


@pytest.mark.parametrize("in_integers", [False, True], ids=["floats", "integers"])
@pytest.mark.parametrize("name", ["v1", "v2", "v2 resnet", "v3 large", "v3 small", "v4 conv small", *MORE])
def test_the_arena_is_never_larger_than_a_plan(name: str, in_integers: bool) -> None:
    graph = (int8_graph if in_integers else float_graph)(spec_of(name))
    size_bytes, layers = scheduled(graph).arena_bytes, plan(graph).size_bytes
    assert size_bytes <= min(fused_plan(graph).size_bytes, layers)
    if name.startswith(("v2", "v4")):  # whose widest maps are inside of blocks
        assert size_bytes == fused_plan(graph).size_bytes < layers


@pytest.mark.parametrize("name", ["v1", "v2", "v2 dilated", "v2 resnet", "v3 large", "v4 conv small"])
def test_every_row_is_made_once_and_is_there_when_it_is_read(name: str) -> None:
    follow(int8_graph(spec_of(name)))


@pytest.mark.parametrize(("name", "tail"), [("lraspp", "argmax"), ("aspp", "argmax"), ("ssdlite", "nms"), ("hybrid", None)])
def test_every_row_of_heads_and_tails_is_made_once_and_is_there_when_it_is_read(name: str, tail: Tail | None) -> None:
    follow(network(name, in_integers=False, tail=tail))


def follow(graph: Graph) -> None:
    """Run the schedule on memory that says which row of which value each byte belongs to."""
    schedule = scheduled(graph)
    source = {operator.output: operator.inputs[0] for operator in graph.operators if isinstance(operator, RENAMING)}
    memory: dict[int, tuple[str, int]] = {}  # byte: value and row
    done: dict[str, int] = {}

    def begin(value: str, row: int) -> int:
        place = schedule.places[value]
        return place.offset + row % place.held * place.row_bytes

    def stored(value: str) -> str:
        return stored(source[value]) if value in source else value

    def write(value: str, rows: range) -> None:
        place = schedule.places[value]
        for row in rows:
            start = begin(value, row)
            memory.update(dict.fromkeys(range(start, start + place.row_bytes), (value, row)))
            assert start + place.row_bytes <= schedule.arena_bytes
        done[value] = rows.stop

    if not schedule.image_stays:
        write("image", range(schedule.places["image"].height))
    for stage in schedule.stages:
        done |= {name: 0 for i in stage.rows for name in graph.operators[i].made}
        for i in stage.rows:
            operator = graph.operators[i]
            height, y = schedule.places[operator.made[0]].height, done[operator.made[0]]
            rows = range(height) if stage.is_whole else range(y, y + 1)
            reader = resize_of(graph, operator) or operator  # an argmax of a map made large reads what that was made of
            for at, value in enumerate(reader.inputs):
                read, kept = schedule.places[value], stored(value)
                if kept == "image" and schedule.image_stays:
                    continue
                for row in needed(graph, reader, at, rows, schedule.places):
                    first = begin(value, row) if kept == value else read.offset
                    assert memory[first] == (kept, row if kept == value else 0), (operator.name, value, row)
                    assert memory[first + read.row_bytes - 1][0] == kept
            for name in operator.made:
                write(name, rows if name == operator.made[0] else range(schedule.places[name].height))
        for name in graph.operators[stage.rows[-1]].made:
            assert done[name] == schedule.places[name].height
    for value in graph.outputs.values():
        assert memory[schedule.places[value].offset][0] == stored(value)


@pytest.mark.slow
@pytest.mark.parametrize("in_integers", [False, True], ids=["floats", "integers"])
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3", "-Os"])
def test_no_level_of_optimization_changes_a_bit_or_warns(level: str, in_integers: bool, tmp_path: Path) -> None:
    graph = (int8_graph if in_integers else float_graph)(spec_of("v3 small"))
    x = prepared(graph, pixels_for(graph))
    assert {operator.activation for operator in graph.operators if isinstance(operator, op.Conv)} != {"linear"} or in_integers
    plain, other = (ran(compiled(graph, tmp_path / name, options=[name]), graph, x)["logits"] for name in ("-O1", level))
    np.testing.assert_array_equal(other, plain)


@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3", "-Os"])
def test_no_level_of_optimization_takes_a_step_for_one_that_writes_nothing(level: str, tmp_path: Path) -> None:
    """GCC 12 did so with -O2 where integers become floats in the same array."""
    operators = (
        op.Quantize(name="start", inputs=("image",), output="start"),
        op.Dequantize(name="end", inputs=("start",), output="end"),
    )
    contract = InputContract(size=6, wide=7, mean=(0.0,), std=(1.0,), resize="stretch", crop=1.0)
    scales = {"start": Quantization((0.05,), -6)}
    graph = Graph(Manifest("there and back", ("a", "b", "c"), contract), operators, {}, {"logits": "end"}, scales)
    x = np.random.default_rng(0).normal(0, 2, (2, 3, 6, 7)).astype(np.float32)
    expected = reference.run(graph, x)["logits"]
    np.testing.assert_array_equal(ran(compiled(graph, tmp_path, options=[level]), graph, x)["logits"], expected)


def test_small_networks_run_whole_where_memory_allows_it() -> None:
    schedule = scheduled(int8_graph(NARROW))
    banded = [stage for stage in schedule.stages if not stage.is_whole]
    assert 0 < len(banded) < len(schedule.stages) / 2


def test_nothing_is_called_but_copies_of_memory_and_the_compilers_own(tmp_path: Path) -> None:
    """No heap, no exceptions, no library: what the objects ask for is what a freestanding compiler brings."""
    assert asked(int8_graph(TINY), tmp_path) <= FREESTANDING
    assert "`expf`" not in (tmp_path / "README.md").read_text()


def test_the_folder_builds_with_cmake_and_its_example_names_the_labels(tmp_path: Path) -> None:
    need("c++", "cmake")
    graph = float_graph(replace(TINY, head=ClassifierHead(temperature=0.5, mirrors="both")))
    write_cpp(graph, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 61, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.ppm")
    subprocess.run(["cmake", "-S", tmp_path, "-B", tmp_path / "build"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True, stdout=subprocess.DEVNULL)
    said = subprocess.run([tmp_path / "build" / "example", tmp_path / "image.ppm"], check=True, capture_output=True)
    predictor = Predictor(graph.manifest, ReferenceEngine(graph))
    scores = predictor.predict(pixels).scores  # type: ignore[union-attr]  # of a classifier
    lines = [line.rsplit("  ", 1) for line in said.stdout.decode().splitlines()]
    assert [label for label, _ in lines] == [TINY.labels[i] for i in np.argsort(-scores, kind="stable")]
    np.testing.assert_allclose([float(score) for _, score in lines], sorted(scores, reverse=True), atol=2e-4)
    wrong = subprocess.run([tmp_path / "build" / "example", tmp_path / "CMakeLists.txt"], check=False, capture_output=True)
    assert wrong.returncode == 1
    assert b"is not a binary PPM image with 3 channels" in wrong.stderr
    gone = subprocess.run([tmp_path / "build" / "example", tmp_path / "gone.ppm"], check=False, capture_output=True)
    assert (gone.returncode, gone.stderr) == (1, f"{tmp_path / 'gone.ppm'} cannot be opened\n".encode())


@pytest.mark.parametrize(
    ("resize", "interpolation"),
    [
        ("crop_then_stretch", "bilinear"),
        ("shorter_side_then_crop", "bicubic"),
        ("stretch", "nearest"),
        ("letterbox", "lanczos"),
    ],
)
def test_the_example_resizes_as_the_contract_says_to_the_bit(
    resize: Resize, interpolation: Interpolation, tmp_path: Path
) -> None:
    need("c++")
    mean = (128 / 255, 64 / 255, 0.0)  # of whole pixels: the padding of a letterbox
    contract = InputContract(size=24, resize=resize, interpolation=interpolation, mean=mean, std=(1.0,))
    graph = int8_graph(replace(TINY, input=contract))
    write_cpp(graph, tmp_path)
    (tmp_path / "resized.cpp").write_text(
        '#include "image.hpp"\n'
        "int main(int, char** arguments) {\n"
        "    const auto image = mobilenet::fitted(mobilenet::read_ppm(arguments[1], 3), 24, 24);\n"
        "    std::fwrite(image.pixels.data(), 1, image.pixels.size(), stdout);\n"
        "}\n"
    )
    program = tmp_path / "resized"
    subprocess.run(["c++", *STRICT, str(tmp_path / "resized.cpp"), "-o", str(program)], check=True)
    for height, width in [(24, 24), (50, 61), (90, 31), (10, 13), (24, 40), (25, 24)]:
        pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "image.ppm")
        made = subprocess.run([program, tmp_path / "image.ppm"], check=True, capture_output=True)
        resized = np.frombuffer(made.stdout, np.uint8).reshape(24, 24, 3)
        expected = prepare(Image.fromarray(pixels), contract)  # C H W, less the mean
        found = resized.transpose(2, 0, 1) / 255 - np.reshape(mean, (3, 1, 1))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_sizes_that_the_folder_states_are_those_of_its_files(tmp_path: Path) -> None:
    graph = int8_graph(SMALL)
    written = write_cpp(graph, tmp_path)
    weights = (tmp_path / "weights.hpp").read_text()
    width = {"std::int8_t": 1, "std::byte": 1, "std::int32_t": 4, "float": 4}
    declared = re.findall(r"extern const (\S+) \w+\[(\d+)\];", weights)
    assert written.constant_bytes == sum(width[kind] * int(count) for kind, count in declared)
    assert f"arena_bytes = {scheduled(graph).arena_bytes};" in (tmp_path / "network.hpp").read_text()
    readme = (tmp_path / "README.md").read_text()
    assert f"| {written.constant_bytes:,} |" in readme
    assert f"| {written.arena_bytes:,} |" in readme


def test_outputs_that_are_not_known_are_refused_by_name(tmp_path: Path) -> None:
    graph = int8_graph(TINY)
    with pytest.raises(GraphError, match="a classification model and returns a, logits, but exported C\\+\\+ returns logits"):
        write_cpp(replace(graph, outputs={**graph.outputs, "a": graph.operators[0].output}), tmp_path / "cpp")
    assert not (tmp_path / "cpp").exists()


def test_sums_that_do_not_fit_32_bits_are_refused(tmp_path: Path) -> None:
    graph = int8_graph(TINY)
    conv = next(operator for operator in graph.operators if isinstance(operator, op.Conv))
    tensors = {**graph.tensors, conv.bias: np.full_like(graph.tensors[conv.bias], 2**31 - 1)}
    with pytest.raises(GraphError, match=f"'{re.escape(conv.name)}' has sums that do not fit into 32 bits"):
        write_cpp(replace(graph, tensors=tensors), tmp_path)


def test_names_from_a_file_cannot_leave_their_comment_or_their_text(tmp_path: Path) -> None:
    need("c++")
    graph = int8_graph(TINY)
    evil = "\n#error stolen\n//\\"
    operators = tuple(replace(operator, name=f"{operator.name}{evil}") for operator in graph.operators)  # type: ignore[type-var]
    manifest = replace(graph.manifest, model=f"net{evil}", labels=('a"; int x', "b\n}", "c\\"))
    program = compiled(Graph(manifest, operators, graph.tensors, graph.outputs, graph.quantization), tmp_path)
    x = prepared(graph, pixels_for(graph))
    np.testing.assert_array_equal(ran(program, graph, x)["logits"], reference.run(graph, x)["logits"])


def test_hard_swish_in_integers_is_one_table(tmp_path: Path) -> None:
    """Only the product of squeeze-and-excite, which a table of one byte cannot hold, is computed."""
    floats = float_graph(TINY)
    graph = quantize(floats, prepared(floats, pixels_for(floats))).graph
    shapes = graph.shapes()
    products = [operator for operator in graph.operators if isinstance(operator, op.Multiply)]
    assert sum(shapes[product.inputs[1]] == shapes[product.inputs[0]] for product in products) == len(products) - 1 > 0
    x = prepared(graph, pixels_for(graph))
    result = ran(compiled(graph, tmp_path / "cpp"), graph, x)
    np.testing.assert_array_equal(result["logits"], reference.run(graph, x)["logits"])
    assert (tmp_path / "cpp" / "network.cpp").read_text(encoding="utf-8").count("constexpr ByteMultiply") == 1

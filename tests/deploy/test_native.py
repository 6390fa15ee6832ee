"""The native engine against the reference executor: every operator, whole networks, plans, threads and instruction sets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import SPECS, MakeGraph, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES as INT8_CASES
from tests.deploy.quantized import Case, integers_for
from tests.deploy.test_operators import CASES, TENSORS, C, H, W

from mobilenets.deploy import file, reference
from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import fused_plan, plan
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.tails import with_argmax, with_nms
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, create

library = pytest.importorskip("mobilenets_native")

SETS = [name for name in library.Engine.instruction_sets if name != "avx512_bf16"]  # whose other kernels are those of avx512
PLANS = ("layers", "fused", "fastest")
Array = NDArray[Any]


def engine(graph: Graph, folder: Path, **settings: Any) -> Any:  # Any: the engine has no types
    path = folder / "network.graph"
    if not path.exists():
        file.save(graph, path)
    return library.Engine(str(path), **settings)


def in_bfloat16(numbers: Array) -> Array:
    """The nearest numbers with the upper 16 bits of a float alone."""
    bits = numbers.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


@pytest.mark.parametrize("operators", CASES.values(), ids=CASES)
def test_an_operator_on_floats_is_that_of_the_reference(make_graph: MakeGraph, operators: Any, tmp_path: Path) -> None:
    graph = make_graph(tuple(operators), TENSORS, height=H, width=W, channels=C, output="result")
    x = np.random.default_rng(0).normal(0, 4, (2, C, H, W)).astype(np.float32)
    expected = reference.run(graph, x)["result"]
    for instructions in SETS:
        for threads in (1, 2):
            result = engine(graph, tmp_path, threads=threads, instructions=instructions).run(x)["result"]
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", INT8_CASES.values(), ids=INT8_CASES)
def test_an_operator_on_integers_is_that_of_the_reference_to_the_bit(case: Case, tmp_path: Path) -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        graph = case.make(random)
        x = np.ascontiguousarray(integers_for(graph, random))
        expected = reference.run(graph, x)["result"]
        (tmp_path / "network.graph").unlink(missing_ok=True)
        for instructions in SETS:
            for threads in (1, 2):
                result = engine(graph, tmp_path, threads=threads, instructions=instructions).run(x)["result"]
                assert result.dtype == expected.dtype
                np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (3, 7), (9, 9)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("channels", [3, 8, 24, 40])
def test_depthwise_windows_of_every_kind(
    make_graph: MakeGraph, tmp_path: Path, kernel: tuple[int, int], stride: int, dilation: int, channels: int
) -> None:
    random = np.random.default_rng(channels)
    reach = [dilation * (side - 1) for side in kernel]
    operator = op.Depthwise(
        name="out",
        inputs=(INPUT,),
        output="out",
        weight="w",
        bias="b",
        stride=(stride, stride),
        dilation=(dilation, dilation),
        padding=(reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2),
        activation="relu6",
    )
    tensors = {
        "w": random.normal(0, 1, (channels, 1, *kernel)).astype(np.float32),
        "b": random.normal(0, 1, channels).astype(np.float32),
    }
    graph = make_graph((operator,), tensors, height=13, width=17, channels=channels, output="result")
    x = random.normal(0, 1, (1, channels, 13, 17)).astype(np.float32)
    expected = reference.run(graph, x)["result"]
    for instructions in SETS:
        result = engine(graph, tmp_path, instructions=instructions).run(x)["result"]
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_a_network_in_floats_is_that_of_the_reference_and_takes_the_planned_memory(
    network: Model, lowered: Graph, tmp_path: Path
) -> None:
    contract = network.spec.input
    x = np.random.default_rng(0).uniform(-1, 1, (2, contract.channels, *contract.shape)).astype(np.float32)
    expected = reference.run(lowered, x)
    for name in PLANS:
        for threads in (1, 3):
            opened = engine(lowered, tmp_path, plan=name, threads=threads)
            for output, values in opened.run(x).items():
                largest = np.abs(expected[output]).max()
                np.testing.assert_allclose(values, expected[output], rtol=1e-4, atol=1e-4 * largest)
    assert engine(lowered, tmp_path, plan="layers").arena_bytes == plan(lowered).size_bytes
    assert engine(lowered, tmp_path, plan="fused").arena_bytes == fused_plan(lowered).size_bytes
    assert engine(lowered, tmp_path, plan="fastest").arena_bytes <= max(
        plan(lowered).size_bytes, fused_plan(lowered).size_bytes
    )


@pytest.mark.parametrize("name", ["v1", "v2", "v2 resnet", "v3 small", "v4 conv small"])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(name: str, tmp_path: Path) -> None:
    model = trained(create(SPECS[name]()))
    contract = model.spec.input
    x = np.random.default_rng(0).uniform(-1, 1, (2, contract.channels, *contract.shape)).astype(np.float32)
    graph = quantized_by_min_max(lower(model), x)
    expected = reference.run(graph, x)["logits"]
    for plan_name in PLANS:
        for threads in (1, 2):
            opened = engine(graph, tmp_path, plan=plan_name, threads=threads)
            np.testing.assert_array_equal(opened.run(x)["logits"], expected)
    assert engine(graph, tmp_path, plan="layers").arena_bytes == plan(graph).size_bytes
    assert engine(graph, tmp_path, plan="fused").arena_bytes == fused_plan(graph).size_bytes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v4 hybrid", "v3 ssdlite", "v3 lraspp"])
def test_a_quantized_network_with_attention_or_a_head_is_that_of_the_reference_to_the_bit(name: str, tmp_path: Path) -> None:
    model = trained(create(SPECS[name]()))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, *model.spec.input.shape)).astype(np.float32)
    graph = quantize(lower(model), x).graph
    expected = reference.run(graph, x)
    for plan_name in PLANS:
        for output, values in engine(graph, tmp_path, plan=plan_name, threads=2).run(x).items():
            np.testing.assert_array_equal(values, expected[output])


@pytest.mark.skipif("avx512_bf16" not in library.Engine.instruction_sets, reason="this processor does not compute in bfloat16")
def test_a_network_in_bfloat16_is_as_near_as_its_numbers_are(network: Model, lowered: Graph, tmp_path: Path) -> None:
    contract = network.spec.input
    x = np.random.default_rng(0).uniform(-1, 1, (2, contract.channels, *contract.shape)).astype(np.float32)
    expected = reference.run(lowered, x)
    whole = engine(lowered, tmp_path, plan="fused").arena_bytes
    (tmp_path / "network.graph").unlink()
    graph = replace(lowered, manifest=replace(lowered.manifest, precision="bfloat16"))
    rounded = {name: in_bfloat16(tensor) if tensor.ndim > 1 else tensor for name, tensor in lowered.tensors.items()}
    near = reference.run(replace(lowered, tensors=rounded), x)  # weights in 16 bits, and all else in 32
    for name in PLANS:
        for threads in (1, 2):
            for output, values in engine(graph, tmp_path, plan=name, threads=threads).run(x).items():
                expected_error = np.linalg.norm(near[output] - expected[output])
                assert 0 < np.linalg.norm(values - expected[output]) < 5 * expected_error
    assert engine(graph, tmp_path, plan="fused").arena_bytes <= whole
    exact = engine(graph, tmp_path, instructions="avx512").run(x)  # as a processor without bfloat16
    for output, values in exact.items():
        np.testing.assert_allclose(values, expected[output], rtol=1e-4, atol=1e-4 * np.abs(expected[output]).max())


def test_boxes_are_those_of_the_reference(tmp_path: Path) -> None:
    model = trained(create(SPECS["v3 ssdlite"]()))
    graph = with_nms(lower(model))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, *model.spec.input.shape)).astype(np.float32)
    expected, result = reference.run(graph, x), engine(graph, tmp_path).run(x)
    np.testing.assert_array_equal(result["classes"], expected["classes"])
    np.testing.assert_allclose(result["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(result["boxes"], expected["boxes"], atol=1e-2)


def test_classes_of_pixels_are_those_of_the_reference_and_large_logits_are_never_whole(tmp_path: Path) -> None:
    spec = replace(SPECS["v3 lraspp"](), labels=tuple(f"label {i}" for i in range(21)))
    graph = with_argmax(lower(trained(create(spec))))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 96)).astype(np.float32)
    expected = reference.run(graph, x)["classes"]
    for name in PLANS:
        for threads in (1, 3):
            np.testing.assert_array_equal(engine(graph, tmp_path, plan=name, threads=threads).run(x)["classes"], expected)
    fused = engine(graph, tmp_path, plan="fused").arena_bytes
    assert fused == fused_plan(graph).size_bytes < 64 * 96 * 21 * 4 <= engine(graph, tmp_path, plan="layers").arena_bytes


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners"])
@pytest.mark.parametrize("small", [(1, 1), (1, 7), (6, 1), (5, 8), (9, 4)])
@pytest.mark.parametrize("large", [(33, 47), (4, 3)])
@pytest.mark.parametrize("wave", [0.0, 0.4, 20.0], ids=["plain", "smooth", "noise"])
def test_the_class_of_each_pixel_of_a_map_made_large(
    make_graph: MakeGraph,
    tmp_path: Path,
    coordinates: op.Coordinates,
    small: tuple[int, int],
    large: tuple[int, int],
    wave: float,
) -> None:
    operators = (
        op.Resize(name="large", inputs=(INPUT,), output="large", size=large, coordinates=coordinates),
        op.ArgMax(name="classes", inputs=("large",), output="classes"),
    )
    graph = make_graph(operators, height=small[0], width=small[1], channels=11)
    y, x, c = np.meshgrid(*(np.arange(side) for side in (*small, 11)), indexing="ij")
    maps = np.stack([np.sin(wave * (y + 2 * x) + shift + c * c) for shift in (0, 1)]).transpose(0, 3, 1, 2).astype(np.float32)
    for outputs in ({"classes": "classes"}, {"classes": "classes", "large": "large"}):
        graph = replace(graph, outputs=outputs)
        expected = reference.run(graph, maps)
        (tmp_path / "network.graph").unlink(missing_ok=True)
        for name in PLANS:
            for threads in (1, 2):
                result = engine(graph, tmp_path, plan=name, threads=threads).run(maps)
                np.testing.assert_array_equal(result["classes"], expected["classes"])
                if "large" in outputs:
                    np.testing.assert_allclose(result["large"], expected["large"], atol=1e-5)


def test_many_runs_at_once_give_what_one_gives(tmp_path: Path) -> None:
    graph = lower(trained(create(SPECS["v2"]())))
    opened = engine(graph, tmp_path, threads=2)
    images = np.random.default_rng(0).uniform(-1, 1, (16, 1, 3, 64, 64)).astype(np.float32)
    expected = [opened.run(image)["logits"] for image in images]
    with ThreadPoolExecutor(4) as pool:
        for result, alone in zip(pool.map(lambda image: opened.run(image)["logits"], images), expected, strict=True):
            np.testing.assert_array_equal(result, alone)


def test_an_output_that_is_also_read_and_one_that_is_the_image(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph((op.Activation(name="a", inputs=(INPUT,), output="a", kind="relu"),), height=3, width=5, channels=2)
    graph = replace(graph, outputs={"image": INPUT, "a": "a"})
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 5)).astype(np.float32)
    result = engine(graph, tmp_path).run(x)
    np.testing.assert_array_equal(result["image"], x)
    np.testing.assert_array_equal(result["a"], np.maximum(x, 0))


def test_the_wrong_input_is_refused_with_the_right_shape(make_graph: MakeGraph, tmp_path: Path) -> None:
    opened = engine(make_graph((op.Activation(name="a", inputs=(INPUT,), output="a", kind="relu"),)), tmp_path)
    for batch in (np.zeros((1, 1, 4, 5), np.float32), np.zeros((1, 1, 4, 4), np.int8)):
        with pytest.raises(ValueError, match="takes images N x 1 x 4 x 4 in float32"):
            opened.run(batch)


def test_what_is_wrong_with_a_file_is_said_with_the_operator(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph((op.Activation(name="curve", inputs=(INPUT,), output="a", kind="relu"),))
    file.save(graph, tmp_path / "network.graph")
    data = (tmp_path / "network.graph").read_bytes()
    for old, new, message in [
        (b'\\"relu\\"', b'\\"rely\\"', "'kind' of operator 0 is 'rely', which is unknown"),
        (b'\\"image\\"', b'\\"imagf\\"', "'curve' reads 'imagf', which nothing before it makes"),
        (b'\\"block\\": -1', b'\\"block\\": 1.', "'block' of operator 0 must be a whole number"),
        (data[:8], b"\xff" * 8, "header is longer than the file"),
    ]:
        assert data.count(old) >= 1
        (tmp_path / "bad.graph").write_bytes(data.replace(old, new, 1))
        with pytest.raises(library.GraphError, match=message):
            library.Engine(str(tmp_path / "bad.graph"))
    with pytest.raises(library.GraphError, match="cannot be read"):
        library.Engine(str(tmp_path / "none.graph"))
    with pytest.raises(library.GraphError, match="does not have the instruction set 'mmx'"):
        library.Engine(str(tmp_path / "network.graph"), instructions="mmx")


def test_each_operator_is_timed(tmp_path: Path) -> None:
    lowered = lower(create(SPECS["v3 small"]()))
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, *lowered.manifest.input.shape)).astype(np.float32)
    graph = quantized_by_min_max(lowered, image)
    made = engine(graph, tmp_path, plan="fused")
    seconds = made.operator_seconds(image, runs=2)
    assert [name for name, _ in seconds] == [operator.name for operator in graph.operators]
    assert all(0 <= took < 1 for _, took in seconds)
    assert sum(took for _, took in seconds) > 1e-6
    with pytest.raises(library.GraphError, match="one run"):
        made.operator_seconds(image, runs=0)

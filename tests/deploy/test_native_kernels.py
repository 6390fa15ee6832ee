"""The native engine's integer kernels: each instruction set against the reference executor to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.quantized import graph_of

from mobilenets.deploy import file, reference
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.integers import factor
from mobilenets.deploy.quantization import Quantization

library = pytest.importorskip("mobilenets_native")


@pytest.fixture(params=["avx512", "avx512_vnni", "avx_vnni", "avx2", "neon", "plain"])
def instructions(request: pytest.FixtureRequest) -> str:
    """An instruction set that this processor has."""
    if request.param not in library.Engine.instruction_sets:
        pytest.skip(f"this processor does not have {request.param}")
    return str(request.param)


def assert_equals_the_reference(graph: Graph, x: NDArray[Any], folder: Path, instructions: str, *, threads: int = 1) -> None:
    file.save(graph, folder / "network.graph")
    engine = library.Engine(str(folder / "network.graph"), instructions=instructions, threads=threads)
    np.testing.assert_array_equal(engine.run(x)["result"], reference.run(graph, x)["result"])


def drawn(
    random: np.random.Generator,
    kind: type[op.Conv | op.Depthwise],
    shape: tuple[int, ...],
    size: tuple[int, int],
    **fields: object,
) -> tuple[Graph, NDArray[np.int8]]:
    """A graph of one operator whose sums cover a little more than what it makes, and two images."""
    outputs, inner = shape[0], int(np.prod(shape[1:]))
    channels = outputs if kind is op.Depthwise else shape[1]
    scales = np.exp(random.uniform(-5, -3, outputs))
    made = Quantization((float(0.05 * scales.max() * 127 * 60 * inner**0.5 / 127),), int(random.integers(-128, 128)))
    tensors: dict[str, NDArray[Any]] = {
        "w": random.integers(-127, 128, shape).astype(np.int8),
        "b": random.integers(-30000, 30000, outputs).astype(np.int32),
    }
    quantization = {
        INPUT: Quantization((0.05,), int(random.integers(-128, 128))),
        "w": Quantization(tuple(float(scale) for scale in scales)),
        "out": made,
    }
    operator = kind(name="out", inputs=(INPUT,), output="out", weight="w", bias="b", **fields)  # type: ignore[arg-type]  # drawn
    graph = graph_of([operator], quantization, tensors, height=size[0], width=size[1], channels=channels)
    return graph, random.integers(-128, 128, (2, channels, *size)).astype(np.int8)


@pytest.mark.parametrize("activation", ["linear", "relu6"])
@pytest.mark.parametrize("outputs", [1, 16, 24, 33, 72])
@pytest.mark.parametrize("channels", [1, 3, 16, 30])
def test_pixels_times_channels_of_every_number(
    instructions: str, activation: str, outputs: int, channels: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(outputs * channels)
    for size in [(1, 1), (1, 13), (3, 5), (4, 7), (2, 29)]:
        graph, x = drawn(random, op.Conv, (outputs, channels, 1, 1), size, activation=activation)
        for threads in (1, 2):
            assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("channels", [120, 250, 700])
def test_sums_that_floats_do_and_do_not_count(instructions: str, channels: int, tmp_path: Path) -> None:
    """Floats count integers up to 2**23 apart: with more channels, some or all sums reach further."""
    random = np.random.default_rng(channels)
    graph, x = drawn(random, op.Conv, (200, channels, 1, 1), (3, 5), activation="relu")
    weights = np.asarray(graph.tensors["w"], np.int8)
    weights[:64] //= 4
    extremes = np.where(weights[[3, 100, 199], :, 0, 0] > 0, 127, -128).astype(np.int8)  # the greatest sums
    x[:, :, 0, :3], x[:, :, 1, :3] = extremes.T, np.where(extremes.T > 0, -128, 127)
    for threads in (1, 2):
        assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (3, 5), (4, 3), (5, 3), (3, 7), (9, 9)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise_windows_of_every_kind(
    instructions: str, kernel: tuple[int, int], stride: int, dilation: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(stride)
    reach = [dilation * (side - 1) for side in kernel]
    padding = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    for channels in (3, 16, 24, 40, 64, 72, 144):
        activation = str(random.choice(["linear", "relu", "relu6"]))
        graph, x = drawn(
            random,
            op.Depthwise,
            (channels, 1, *kernel),
            (11, 14),
            stride=(stride, stride),
            dilation=(dilation, dilation),
            padding=padding,
            activation=activation,
        )
        for threads in (1, 2):
            assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("activation", ["linear", "relu6"])
@pytest.mark.parametrize("width", [1, 2, 23, 24, 25, 26, 27, 57])
def test_maps_whose_channels_are_half_a_block(instructions: str, width: int, activation: str, tmp_path: Path) -> None:
    """Two of their pixels are computed as one where rows are long enough."""
    random = np.random.default_rng(width)
    for height in (1, 2, 5):
        for padding in [(1, 1, 1, 1), (1, 1, 0, 2), (0, 2, 2, 0)]:
            fields = {"padding": padding, "activation": activation}
            graph, x = drawn(random, op.Depthwise, (32, 1, 3, 3), (height, width), **fields)
            for threads in (1, 2):
                assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("channels", [30, 32, 72, 144])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("reader", ["one", "two", "output", "curve", "window"])
def test_what_pointwise_convolutions_and_others_read_of_a_depthwise_one(
    instructions: str, reader: str, stride: int, channels: int, tmp_path: Path
) -> None:
    """It is made as its readers want it if they are all pointwise, and else as it is."""
    random = np.random.default_rng(channels)
    side = 3 if reader == "window" else 1
    shapes = {"made": (channels, 1, 3, 3), "first": (20, channels, side, side), "second": (20, channels, 1, 1)}
    quantization = {INPUT: scale(random), "made": scale(random, 1, 2)}
    tensors: dict[str, NDArray[Any]] = {}
    operators: list[op.Operator] = []

    def add(kind: type[op.Conv | op.Depthwise], name: str, read: str, **fields: Any) -> None:
        tensors[f"{name}.w"] = random.integers(-127, 128, shapes[name]).astype(np.int8)
        tensors[f"{name}.b"] = random.integers(-3000, 3000, shapes[name][0]).astype(np.int32)
        quantization[f"{name}.w"] = Quantization((0.05,))
        quantization.setdefault(name, scale(random, 5, 6))
        operators.append(kind(name=name, inputs=(read,), output=name, weight=f"{name}.w", bias=f"{name}.b", **fields))

    add(op.Depthwise, "made", INPUT, stride=(stride, stride), padding=(1, 1, 1, 1), activation="relu6")
    add(op.Conv, "first", "made", padding=(side // 2,) * 4)
    if reader in ("two", "window"):
        add(op.Conv, "second", "made")
        operators.append(op.Add(name="out", inputs=("first", "second"), output="out"))
        quantization["out"] = scale(random, 5, 6)
    if reader == "curve":
        operators.append(op.Activation(name="out", inputs=("made",), output="out", kind="hard_swish"))
        quantization["out"] = scale(random, 1, 2)
    graph = graph_of(operators, quantization, tensors, height=9, width=26, channels=channels)
    if reader == "output":
        graph = replace(graph, outputs={**graph.outputs, "made": "made"})
    if reader == "curve":
        graph = replace(graph, outputs={**graph.outputs, "first": "first"})
    x = random.integers(-128, 128, (2, channels, 9, 26)).astype(np.int8)
    for threads in (1, 2):
        file.save(graph, tmp_path / "network.graph")
        engine = library.Engine(str(tmp_path / "network.graph"), instructions=instructions, threads=threads)
        made = engine.run(x)
        for name, expected in reference.run(graph, x).items():
            np.testing.assert_array_equal(made[name], expected)


@pytest.mark.parametrize("channels", [128, 512, 1024])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_pixels_that_share_few_places_of_the_first_cache(
    instructions: str, side: int, stride: int, channels: int, tmp_path: Path
) -> None:
    """Rows of such maps are computed in pieces."""
    random = np.random.default_rng(channels)
    for width in (7, 14, 37):
        padding = (side // 2,) * 4
        fields = {"stride": (stride, stride), "padding": padding, "activation": "relu"}
        graph, x = drawn(random, op.Depthwise, (channels, 1, side, side), (5, width), **fields)
        for threads in (1, 2):
            assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("scales", ["any", "powers of two", "large"])
def test_sums_next_to_where_the_result_changes(
    instructions: str, activation: op.ActivationKind, scales: str, tmp_path: Path
) -> None:
    """Each channel sees 256 neighboring sums around one where the specification's result changes, at a scale of its own."""
    random = np.random.default_rng(0)
    outputs = 1024
    low, high = (-0.5, 1.5) if scales == "large" else (-9.5, -1.0)
    factors = np.exp2(random.uniform(low, high, outputs))
    if scales == "powers of two":
        factors = np.exp2(np.round(np.log2(factors)))
    zero_points = {"linear": (-128, 128), "relu": (-128, -127) if scales == "any" else (-127, -90)}
    zero_point = int(random.integers(*zero_points[activation]))
    results = random.integers(-128, 128, outputs) - zero_point
    sums = np.round((results + 0.5) / factors).astype(np.int64)
    tensors: dict[str, NDArray[Any]] = {"w": np.ones((outputs, 1, 1, 1), np.int8), "b": (sums - 128).astype(np.int32)}
    quantization = {
        INPUT: Quantization((1.0,), -128),
        "w": Quantization(tuple(float(scale) for scale in factors)),
        "out": Quantization((1.0,), zero_point),
    }
    operator = op.Conv(name="out", inputs=(INPUT,), output="out", weight="w", bias="b", activation=activation)
    graph = graph_of([operator], quantization, tensors, height=16, width=16, channels=1)
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 16, 16)
    assert (factor(factors).shifts > 0).any() == (scales == "large")
    assert len(np.unique(reference.run(graph, x)["result"])) > 200
    assert_equals_the_reference(graph, x, tmp_path, instructions)


def scale(random: np.random.Generator, low: float = 0.01, high: float = 0.1) -> Quantization:
    return Quantization((float(random.uniform(low, high)),), int(random.integers(-128, 128)))


@pytest.mark.parametrize("kind", [op.Add, op.Multiply])
def test_all_pairs_of_integers_added_and_multiplied(
    instructions: str, kind: type[op.Add | op.Multiply], tmp_path: Path
) -> None:
    """Some scales have factors in floats that give the exact results, others do not."""
    x = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), indexing="ij"))[None].astype(np.int8)
    names = ("a", "b")
    tensors: dict[str, NDArray[Any]] = {}
    for i, name in enumerate(names):
        tensors[f"{name}.w"] = np.eye(2, dtype=np.int8)[i].reshape(1, 2, 1, 1)
        tensors[f"{name}.b"] = np.zeros(1, np.int32)
    for seed in range(12):
        random = np.random.default_rng(seed)
        read, made = scale(random), scale(random)
        if kind is op.Multiply:
            made = replace(made, scales=(made.scales[0] / 4,))
        # both channels are read at one scale, and the second is then moved to another
        second = replace(read, scales=(read.scales[0] * float(random.uniform(0.3, 3)),))
        weights = {f"{name}.w": Quantization((1.0,)) for name in names}
        quantization = {INPUT: read, "a": read, "b": second, "out": made, **weights}
        operators: list[op.Operator] = [
            op.Conv(name=name, inputs=(INPUT,), output=name, weight=f"{name}.w", bias=f"{name}.b") for name in names
        ]
        graph = graph_of(
            [*operators, kind(name="out", inputs=names, output="out")],
            quantization, tensors, height=256, width=256, channels=2,
        )  # fmt: skip
        assert_equals_the_reference(graph, x, tmp_path, instructions)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("width", [1, 31, 63, 64, 65, 130, 224])
def test_an_image_in_floats(instructions: str, channels: int, width: int, tmp_path: Path) -> None:
    """Halves, and numbers far beyond the range; the kernel of three colors takes 64 pixels at once."""
    random = np.random.default_rng(width)
    made = scale(random)
    graph = graph_of(
        [op.Quantize(name="out", inputs=(INPUT,), output="out")], {"out": made}, height=3, width=width, channels=channels
    )
    x = random.normal(0, 40 * made.scales[0], (2, channels, 3, width)).astype(np.float32)
    x[0, :, 1] = (random.integers(-140, 140, (channels, width)) + 0.5).astype(np.float32) * np.float32(made.scales[0])
    x[1, :, 2] = random.choice(np.array([np.inf, -np.inf, 1e30, -1e30, 0.0], np.float32), (channels, width))
    assert_equals_the_reference(graph, x, tmp_path, instructions)


@pytest.mark.parametrize("channels", [3, 16, 24, 72, 240])
@pytest.mark.parametrize("width", [1, 5, 20])
def test_a_map_times_the_mean_of_each_channel(instructions: str, channels: int, width: int, tmp_path: Path) -> None:
    random = np.random.default_rng(channels * width)
    x = random.integers(-128, 128, (2, channels, 4, width)).astype(np.int8)
    for threads in (1, 3):
        read, made = scale(random), scale(random, 0.001, 0.01)
        mean = replace(scale(random), scales=(read.scales[0] * float(random.uniform(0.2, 1.5)),))
        graph = graph_of(
            [
                op.Pool(name="mean", inputs=(INPUT,), output="mean", kernel=(4, width)),
                op.Multiply(name="out", inputs=(INPUT, "mean"), output="out"),
            ],
            {INPUT: read, "mean": mean, "out": made}, height=4, width=width, channels=channels,
        )  # fmt: skip
        assert_equals_the_reference(graph, x, tmp_path, instructions, threads=threads)


@pytest.mark.parametrize("reader", ["none", "output", "sum"])
def test_a_number_times_its_own_curve(instructions: str, reader: str, tmp_path: Path) -> None:
    """The curve is made for whoever else reads it."""
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 16, 16)
    for seed in range(6):
        random = np.random.default_rng(seed)
        operators: list[op.Operator] = [
            op.Activation(name="gate", inputs=(INPUT,), output="gate", kind="hard_sigmoid"),
            op.Multiply(name="swish", inputs=(INPUT, "gate"), output="swish"),
        ]
        if reader == "sum":
            operators.append(op.Add(name="out", inputs=("swish", "gate"), output="out"))
        quantization = {name: scale(random) for name in (INPUT, *(operator.output for operator in operators))}
        quantization["gate"] = Quantization((1 / 256,), -128)
        graph = graph_of(operators, quantization, height=16, width=16, channels=1)
        if reader == "output":
            graph = replace(graph, outputs={**graph.outputs, "gate": "gate"})
        assert_equals_the_reference(graph, x, tmp_path, instructions)
        if reader == "output":
            engine = library.Engine(str(tmp_path / "network.graph"), instructions=instructions)
            np.testing.assert_array_equal(engine.run(x)["gate"], reference.run(graph, x)["gate"])

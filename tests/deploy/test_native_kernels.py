"""The native engine's integer kernels: each instruction set against the reference executor to the bit."""

from __future__ import annotations

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


@pytest.fixture(params=["avx512", "avx2", "neon", "plain"])
def instructions(request: pytest.FixtureRequest) -> str:
    """An instruction set that this processor has."""
    if request.param not in library.Engine.instruction_sets:
        pytest.skip(f"this processor does not have {request.param}")
    return str(request.param)


def assert_equals_the_reference(
    graph: Graph, x: NDArray[np.int8], folder: Path, instructions: str, *, threads: int = 1
) -> None:
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


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (3, 7), (9, 9)])
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
    zero_point = int(random.integers(-128, 128)) if activation == "linear" else -128
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

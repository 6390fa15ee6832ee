"""ONNX and TFLite files of every network and of each operator, run by their runtimes, against the reference executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tests.deploy.conftest import MakeGraph
from tests.deploy.runtimes import RUNTIMES, Array, Outputs, by_litert

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.write_tflite import to_tflite


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Callable[[Graph, Array], Outputs]:
    """Runs a graph in another runtime."""
    run: Callable[[Graph, Array], Outputs] = RUNTIMES[request.param]
    return run


def test_a_network_is_the_same_in_every_runtime(lowered: Graph) -> None:
    contract = lowered.manifest.input
    x = np.random.default_rng(0).uniform(-1, 1, (2, contract.channels, *contract.shape)).astype(np.float32)
    expected = reference.run(lowered, x)
    for run in RUNTIMES.values():
        for name, values in run(lowered, x).items():
            assert np.abs(values - expected[name]).max() <= 2e-5 * np.abs(expected[name]).max()


def test_the_input_of_a_tflite_file_may_be_resized_to_any_number_of_images(lowered: Graph) -> None:
    contract = lowered.manifest.input
    x = np.random.default_rng(0).uniform(-1, 1, (3, *contract.shape, contract.channels)).astype(np.float32)
    expected = by_litert(lowered, x.transpose(0, 3, 1, 2))
    interpreter = Interpreter(model_content=to_tflite(lowered))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    run = interpreter.get_signature_runner()
    for name, values in run(image=x).items():
        together = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
        np.testing.assert_allclose(together, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", get_args(op.NonLinear))
def test_activations_alone_and_fused_are_the_same_beyond_their_knees(
    make_graph: MakeGraph, runtime: Callable[[Graph, Array], Outputs], kind: op.NonLinear
) -> None:
    x = np.linspace(-9, 9, 2 * 37, dtype=np.float32).reshape(2, 1, 1, 37)
    tensors = {"w": np.ones((1, 1, 1, 1), np.float32), "b": np.zeros(1, np.float32)}
    graph = make_graph(
        (
            op.Activation(name="alone", inputs=(INPUT,), output="alone", kind=kind),
            op.Conv(name="conv", inputs=(INPUT,), output="conv", weight="w", bias="b", activation=kind),
            op.Add(name="sum", inputs=("alone", "conv"), output="sum", activation=kind),
        ),
        tensors,
        height=1,
        width=37,
    )
    np.testing.assert_allclose(runtime(graph, x)["out"], reference.run(graph, x)["out"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2))])  # never both
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (2, 0, 0, 1)])
def test_windows_of_every_padding_are_the_same(
    make_graph: MakeGraph,
    runtime: Callable[[Graph, Array], Outputs],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 9, 10)).astype(np.float32)
    tensors = {
        "w": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "b": random.normal(size=4).astype(np.float32),
        "dw": random.normal(size=(4, 1, 3, 3)).astype(np.float32),
    }
    window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    graph = make_graph(
        (
            op.Conv(name="conv", inputs=(INPUT,), output="conv", weight="w", bias="b", **window),
            op.Depthwise(name="deep", inputs=("conv",), output="deep", weight="dw", bias="b", padding=(1, 1, 1, 1)),
        ),
        tensors,
        height=9,
        width=10,
        channels=3,
    )
    np.testing.assert_allclose(runtime(graph, x)["out"], reference.run(graph, x)["out"], rtol=1e-4, atol=1e-5)


def test_the_best_channel_of_a_resized_map_is_the_same(
    make_graph: MakeGraph, runtime: Callable[[Graph, Array], Outputs]
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6)).astype(np.float32)
    graph = make_graph(
        (
            op.Resize(name="large", inputs=(INPUT,), output="large", size=(16, 24)),
            op.ArgMax(name="best", inputs=("large",), output="best"),
        ),
        height=4,
        width=6,
        channels=5,
    )
    np.testing.assert_array_equal(runtime(graph, x)["out"], reference.run(graph, x)["out"])

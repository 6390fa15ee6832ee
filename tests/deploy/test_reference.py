"""The reference executor against torch: each operator over its options, and whole networks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.deploy.conftest import MakeGraph
from torch.nn import functional

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import Operator
from mobilenets.model import Model

KNEES = np.array([-9.0, -3.0, -2.9, -1.0, -0.0, 0.3, 2.9, 3.0, 5.9, 6.0, 7.0, 40.0], np.float32)

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hard_swish": functional.hardswish,
    "hard_sigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
}


def computed(
    make_graph: MakeGraph, operator: Operator, x: NDArray[np.float32], tensors: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    graph = make_graph((operator,), tensors, height=x.shape[2], width=x.shape[3], channels=x.shape[1])
    graph.check()
    return reference.run(graph, x)["out"]


def drawn(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_are_torchs_beyond_their_knees(kind: op.ActivationKind) -> None:
    expected = ACTIVATIONS[kind](torch.from_numpy(KNEES).double()).numpy()
    np.testing.assert_allclose(reference.activate(KNEES, kind), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding", "activation"),
    [
        *itertools.product(
            [(1, 1), (3, 3), (5, 3)], [(1, 1), (2, 2)], [(1, 1), (2, 1)], [(0, 0, 0, 0), (0, 1, 2, 1)], ["relu6"]
        ),
        ((1, 1), (3, 2), (1, 1), (0, 0, 0, 0), "hard_swish"),
    ],
)
def test_convolutions_are_torchs(
    make_graph: MakeGraph,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    activation: op.ActivationKind,
) -> None:
    x, weight, bias = 3 * drawn(2, 4, 11, 12), drawn(6, 4, *kernel, seed=1), drawn(6, seed=2)
    tensors = {"w": weight, "b": bias, "dw": drawn(4, 1, *kernel, seed=3), "db": drawn(4, seed=4)}
    window: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding, "activation": activation}
    top, bottom, left, right = padding
    wide = functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    for operator, filters, shift, groups in (
        (op.Conv(name="c", inputs=(INPUT,), output="c", weight="w", bias="b", **window), "w", "b", 1),
        (op.Depthwise(name="d", inputs=(INPUT,), output="d", weight="dw", bias="db", **window), "dw", "db", 4),
    ):
        kernels, biases = (torch.from_numpy(tensors[name]) for name in (filters, shift))
        expected = ACTIVATIONS[activation](functional.conv2d(wide, kernels, biases, stride, 0, dilation, groups)).numpy()
        np.testing.assert_allclose(computed(make_graph, operator, x, tensors), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners"])
@pytest.mark.parametrize(("size", "new"), [((3, 5), (12, 7)), ((8, 6), (3, 6)), ((1, 1), (4, 5)), ((4, 4), (1, 1))])
def test_a_resized_map_is_torchs(
    make_graph: MakeGraph, coordinates: op.Coordinates, size: tuple[int, int], new: tuple[int, int]
) -> None:
    x = drawn(2, 3, *size)
    aligned = coordinates == "align_corners"
    expected = functional.interpolate(torch.from_numpy(x), size=new, mode="bilinear", align_corners=aligned).numpy()
    operator = op.Resize(name="r", inputs=(INPUT,), output="r", size=new, coordinates=coordinates)
    np.testing.assert_allclose(computed(make_graph, operator, x, {}), expected, atol=3e-6)


@pytest.mark.parametrize(("kernel", "stride"), [((7, 6), (1, 1)), ((3, 2), (2, 3))])
def test_a_pooled_map_is_torchs(make_graph: MakeGraph, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    x = drawn(2, 3, 7, 6)
    expected = functional.avg_pool2d(torch.from_numpy(x), kernel, stride).numpy()
    operator = op.Pool(name="p", inputs=(INPUT,), output="p", kernel=kernel, stride=stride)
    np.testing.assert_allclose(computed(make_graph, operator, x, {}), expected, atol=1e-6)


def test_rows_are_the_groups_of_channels_place_after_place(make_graph: MakeGraph) -> None:
    x = drawn(2, 6, 2, 3)
    operator = op.Rows(name="r", inputs=(INPUT,), output="r", columns=2)
    expected = torch.from_numpy(x).permute(0, 2, 3, 1).reshape(2, -1, 2).numpy()
    np.testing.assert_array_equal(computed(make_graph, operator, x, {}), expected)
    rows = op.Places(name="p", inputs=("r",), output="p", size=(2, 3))
    graph = make_graph((operator, rows), height=2, width=3, channels=6)
    np.testing.assert_array_equal(reference.run(graph, x)["out"], x)


def test_a_whole_network_gives_what_torch_gives(network: Model, lowered: Graph) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (2, network.spec.input.channels, *network.spec.input.shape)).astype(np.float32)
    with torch.inference_mode():
        expected = {
            name: values.numpy() for name, values in network.double().named(network(torch.from_numpy(x).double())).items()
        }
    network.float()
    outputs = reference.run(lowered, x)
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(outputs[name] - values).max() <= 1e-5 * np.abs(values).max()

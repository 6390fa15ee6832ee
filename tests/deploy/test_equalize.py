"""Equalization: the network stays the same, and channels that lie far apart cost no accuracy as integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import MakeGraph

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantize.equalize import equalized
from mobilenets.deploy.quantize.prepare import prepared
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels

CHANNELS = 12
APART = np.geomspace(1, 100, CHANNELS).astype(np.float32)

Images = NDArray[np.float32]


@pytest.fixture
def images() -> Images:
    return np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)


def _block(make_graph: MakeGraph, activation: op.ActivationKind) -> Graph:
    """An inverted residual: expand, depthwise, a gate of its mean, project."""
    random = np.random.default_rng(1)
    shapes = {
        "expand": (CHANNELS, 1, 1, 1),
        "depth": (CHANNELS, 1, 3, 3),
        "gate": (CHANNELS, CHANNELS, 1, 1),
        "project": (3, CHANNELS, 1, 1),
    }
    tensors = {f"{name}.w": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {f"{name}.b": random.uniform(0.5, 1.5, shape[0]).astype(np.float32) for name, shape in shapes.items()}
    margin = (1, 1, 1, 1)
    return make_graph(
        (
            op.Conv(name="expand", inputs=(INPUT,), output="e", weight="expand.w", bias="expand.b", activation=activation),
            op.Depthwise(
                name="depth", inputs=("e",), output="d", weight="depth.w", bias="depth.b", activation=activation, padding=margin
            ),
            op.Pool(name="pool", inputs=("d",), output="p", kernel=(6, 6)),
            op.Conv(name="gate", inputs=("p",), output="g", weight="gate.w", bias="gate.b", activation="hard_sigmoid"),
            op.Multiply(name="scale", inputs=("d", "g"), output="s"),
            op.Conv(name="project", inputs=("s",), output="out", weight="project.w", bias="project.b"),
        ),
        tensors,
        height=6,
        width=6,
    )


def _apart(graph: Graph) -> Graph:
    """The same network with expanded channels up to 100 times apart, and others 100 times apart behind the depthwise layer."""
    weights: dict[str, NDArray[Any]] = dict(graph.tensors)  # Any: floats
    back = APART[::-1]
    weights["expand.w"] = weights["expand.w"] * APART[:, None, None, None]
    weights["expand.b"] = weights["expand.b"] * APART
    weights["depth.w"] = weights["depth.w"] * (back / APART)[:, None, None, None]
    weights["depth.b"] = weights["depth.b"] * back
    for name in ("gate.w", "project.w"):
        weights[name] = weights[name] / back[None, :, None, None]
    return replace(graph, tensors=weights)


def test_an_equalized_network_computes_the_same(make_graph: MakeGraph, images: Images) -> None:
    graph = prepared(_apart(_block(make_graph, "relu")))
    same = equalized(graph, images)
    assert not np.array_equal(same.tensors["depth.w"], graph.tensors["depth.w"])
    assert decibels(reference.run(graph, images)["out"], reference.run(same, images)["out"]) > 100


def test_channels_that_are_far_apart_cost_no_accuracy(make_graph: MakeGraph, images: Images) -> None:
    graph = _block(make_graph, "relu")
    meant = reference.run(graph, images)["out"]
    plain, apart = (
        decibels(meant, reference.run(quantize(one, images).graph, images)["out"]) for one in (graph, _apart(graph))
    )
    assert plain > 35
    assert apart > plain - 1.5


def test_channels_end_close_to_each_other(make_graph: MakeGraph, images: Images) -> None:
    same = equalized(prepared(_apart(_block(make_graph, "relu"))), images)
    values = reference.run_all(same, images)
    for name in ("e", "d"):
        largest = np.abs(values[name]).max((0, 2, 3))
        assert largest.max() / largest.min() < 12


def test_a_clipped_channel_keeps_its_scale(make_graph: MakeGraph, images: Images) -> None:
    graph = prepared(_block(make_graph, "relu6"))
    same = equalized(graph, images)
    for name, weights in graph.tensors.items():
        np.testing.assert_array_equal(same.tensors[name], weights)


def test_what_comes_of_the_image_without_weights_keeps_its_scale(make_graph: MakeGraph, images: Images) -> None:
    tensors = {"w": np.array([[[[1.0]], [[0.01]], [[30.0]]]], np.float32), "b": np.zeros(1, np.float32)}
    graph = make_graph(
        (
            op.Pool(name="pool", inputs=(INPUT,), output="p", kernel=(2, 2), stride=(2, 2)),
            op.Conv(name="conv", inputs=("p",), output="out", weight="w", bias="b"),
        ),
        tensors,
        height=6,
        width=6,
        channels=3,
    )
    colors = np.repeat(images, 3, 1) * np.array([0.01, 1, 0.1], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_array_equal(equalized(graph, colors).tensors["w"], tensors["w"])


def test_a_dead_channel_stays_finite(make_graph: MakeGraph, images: Images) -> None:
    graph = _apart(_block(make_graph, "relu"))
    weights = {**graph.tensors, "expand.w": graph.tensors["expand.w"].copy(), "expand.b": graph.tensors["expand.b"].copy()}
    weights["expand.w"][3], weights["expand.b"][3] = 0, -1
    graph = prepared(replace(graph, tensors=weights))
    same = equalized(graph, images)
    assert all(np.isfinite(values).all() for values in same.tensors.values())
    assert decibels(reference.run(graph, images)["out"], reference.run(same, images)["out"]) > 100


@pytest.mark.parametrize("dead", [("project",), ("gate", "project"), ("depth", "gate", "project")], ids=" ".join)
def test_a_dead_layer_does_not_decide(make_graph: MakeGraph, images: Images, dead: tuple[str, ...]) -> None:
    graph = prepared(_block(make_graph, "relu"))
    zeros = {f"{name}.w": np.zeros_like(graph.tensors[f"{name}.w"]) for name in dead}
    graph = replace(graph, tensors={**graph.tensors, **zeros})
    made = equalized(graph, images)
    np.testing.assert_allclose(reference.run(made, images)["out"], reference.run(graph, images)["out"], atol=1e-4)
    quantize(made, images).graph.check()

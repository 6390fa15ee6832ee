"""Who is alive, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.memory import Precision, activation_bytes, bottleneck_plan, plan
from mobilenets.analysis.trace import trace
from mobilenets.net.backbone import Backbone
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Row


def run(*rows: Row, c_in: int, size: int) -> LayerGraph:
    with torch.device("meta"):
        network = Backbone(BackboneSpec("test", rows, in_channels=c_in))
    return trace(network, (1, c_in, size, size))


def family(name: str) -> LayerGraph:
    with torch.device("meta"):
        network = Backbone(backbone(name))
    return trace(network, (1, 3, 224, 224))


def test_a_layer_needs_its_input_and_its_output() -> None:
    graph = run(Conv(8), Conv(4, stride=2), c_in=2, size=4)
    assert plan(graph, "int8").live_bytes == ((2 + 8) * 16, 8 * 16 + 4 * 4)


def test_a_shortcut_stays_alive_across_its_block() -> None:
    """16 pixels: input 8, expansion 32, depthwise 32, projection 8; the sum writes over the projection."""
    graph = run(Bottleneck(32, 8), c_in=8, size=4)
    expand, depthwise, project, add = plan(graph, "int8").live_bytes
    assert expand == (8 + 32) * 16
    assert depthwise == (8 + 32 + 32) * 16
    assert project == (8 + 32 + 8) * 16
    assert add == (8 + 8) * 16


def test_without_shortcut_the_input_dies_at_once() -> None:
    graph = run(Bottleneck(32, 8, shortcut="none"), c_in=8, size=4)
    assert plan(graph, "int8").live_bytes == ((8 + 32) * 16, (32 + 32) * 16, (32 + 8) * 16)


def test_squeeze_excite_keeps_what_it_multiplies() -> None:
    graph = run(Bottleneck(32, 4, c_squeeze=8), c_in=8, size=4)
    _, depthwise, pool, reduce, expand, multiply, project = plan(graph, "int8").live_bytes
    assert depthwise == (32 + 32) * 16
    assert (pool, reduce, expand) == (32 * 16 + 32, 32 * 16 + 32 + 8, 32 * 16 + 8 + 32)
    assert multiply == 32 * 16 + 32
    assert project == (32 + 4) * 16


def test_shortcuts_between_expansions_keep_the_wide_map() -> None:
    narrow = plan(run(Bottleneck(32, 8, shortcut="none"), c_in=8, size=4), "int8")
    wide = plan(run(Bottleneck(32, 8, shortcut="expansion"), c_in=8, size=4), "int8")
    assert narrow.live_bytes[1:] == ((32 + 32) * 16, (32 + 8) * 16)
    assert wide.live_bytes[1:] == ((32 + 32) * 16, (32 + 32) * 16, (32 + 8) * 16)


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_the_peak_of_v2_is_where_its_second_bottleneck_strides(precision: Precision, width: int) -> None:
    """96 channels at 112 x 112 go in, 96 at 56 x 56 come out."""
    graph = family("mobilenet_v2")
    memory = plan(graph, precision)
    assert memory.peak_bytes == (96 * 112 * 112 + 96 * 56 * 56) * width
    assert graph.layers[memory.peak].name == "blocks.2.depthwise.conv"


def test_the_peak_of_v1_is_its_first_pointwise_convolution() -> None:
    """32 channels at 112 x 112 go in, 64 come out."""
    graph = family("mobilenet_v1")
    memory = plan(graph, "int8")
    assert (memory.peak_bytes, graph.layers[memory.peak].name) == ((32 + 64) * 112 * 112, "blocks.1.pointwise.conv")


def test_between_blocks_only_the_ends_of_bottlenecks_count() -> None:
    """The most is around V2's first bottleneck: 32 channels at 112 x 112 go in, 16 come out."""
    graph = family("mobilenet_v2")
    memory = bottleneck_plan(graph, "int8")
    assert memory.peak_bytes == (32 + 16) * 112 * 112
    assert {graph.layers[memory.peak].block} == {1}


def test_bytes_of_a_layer() -> None:
    graph = run(Conv(8), c_in=3, size=5)
    assert [activation_bytes(graph, layer, "fp16") for layer in graph.layers] == [8 * 25 * 2]

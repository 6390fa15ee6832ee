"""The outline of a classifier is the graph of the module that runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilenets.analysis.layers import Layer, LayerGraph
from mobilenets.analysis.outline import outline
from mobilenets.analysis.trace import trace
from mobilenets.model import Model
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    Padding,
    ResNetBottleneck,
    Separable,
    Universal,
    with_output_stride,
)

EVERY_ROW = BackboneSpec(
    "every_row",
    (
        Conv(8, 3, 2, activation="hard_swish"),
        Separable(8, 3, 2),
        Fused(32, 8, 3, 2),
        Fused(16, 8, 3, 1),
        Bottleneck(24, 16, 5, 2, "hard_swish", c_squeeze=8),
        Bottleneck(16, 16, c_squeeze=4, project_activation="relu6"),
        Bottleneck(48, 16, shortcut="expansion"),
        Bottleneck(48, 16, shortcut="none"),
        Universal(32, 16, start_kernel=5, middle_kernel=3, stride=2, layer_scale=True),
        Universal(32, 16, start_kernel=3, activation="gelu"),
        Universal(32, 24, middle_kernel=3),
        Universal(32, 24, layer_scale=True),
        Attention(24, heads=4, key_dim=8, kv_stride=2),
        Attention(24, heads=2, key_dim=8, layer_scale=False),
        ResNetBottleneck(8, 24),
        ResNetBottleneck(8, 32, stride=2),
        Conv(40, norm=False),
    ),
    tail=(Conv(48, activation="gelu", norm=False), Conv(56)),
)


def traced(spec: BackboneSpec, classes: int, height: int, width: int) -> LayerGraph:
    contract = InputContract(channels=spec.in_channels, mean=(0.5,), std=(0.5,))
    with torch.device("meta"):
        model = Model(ModelSpec(spec, tuple(map(str, range(classes))), contract))
    return trace(model, (1, spec.in_channels, height, width))


def renumbered(graph: LayerGraph) -> list[tuple[Layer, tuple[int, ...]]]:
    """The layers with the shapes of their outputs, and with values counted as layers make them, without those folded away."""
    numbers = {0: 0} | {layer.output: i + 1 for i, layer in enumerate(graph.layers)}
    assert [numbers[value] for value in graph.outputs] == [len(graph.layers)]
    return [
        (
            replace(layer, inputs=tuple(numbers[value] for value in layer.inputs), output=numbers[layer.output]),
            graph.shapes[layer.output],
        )
        for layer in graph.layers
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_has_the_layers_that_run(name: str) -> None:
    spec = backbone(name, width=0.5)
    assert renumbered(outline(spec, 7, 65, 96)) == renumbered(traced(spec, 7, 65, 96))


@pytest.mark.parametrize("padding", ["tf", "symmetric", "end"])
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 4])
def test_every_row_runs_as_outlined_under_every_option(padding: Padding, output_stride: int, channels: int) -> None:
    spec = with_output_stride(replace(EVERY_ROW, padding=padding, in_channels=channels), output_stride)
    spec = replace(spec, dilate_strided_row=channels == 4)
    for height, width in ((64, 64), (97, 130)):
        assert renumbered(outline(spec, 3, height, width)) == renumbered(traced(spec, 3, height, width))

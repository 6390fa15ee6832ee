"""Layers as they ran."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mobilenets.analysis.layers import Layer, LayerGraph
from mobilenets.analysis.memory import plan
from mobilenets.analysis.trace import trace
from mobilenets.errors import SpecError
from mobilenets.model import Model
from mobilenets.net.backbone import Backbone
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import Attention, BackboneSpec, Bottleneck, Conv, Row

LABELS = ("cat", "dog")


def network(*rows: Row, c_in: int = 3) -> Backbone:
    return Backbone(BackboneSpec("test", rows, in_channels=c_in))


def lines(graph: LayerGraph) -> list[tuple[str, str, int, int]]:
    return [(layer.name, layer.operator, layer.params, layer.macs) for layer in graph.layers]


def test_a_convolution_with_norm_and_activation_is_one_layer() -> None:
    """27 x 8 weights and 16 of the norm; 27 x 8 MACs for each of 16 output pixels."""
    graph = trace(network(Conv(8, kernel=3, stride=2)), (1, 3, 8, 8))
    assert lines(graph) == [("blocks.0.conv", "conv 3x3 /2", 27 * 8 + 16, 27 * 8 * 16)]
    assert graph.shapes[graph.outputs[0]] == (1, 8, 4, 4)


def test_a_bottleneck_with_squeeze_excite() -> None:
    graph = trace(network(Bottleneck(16, 8, c_squeeze=4), c_in=8), (1, 8, 4, 4))
    assert lines(graph) == [
        ("blocks.0.expand.conv", "conv 1x1", 8 * 16 + 32, 8 * 16 * 16),
        ("blocks.0.depthwise.conv", "depthwise 3x3", 9 * 16 + 32, 9 * 16 * 16),
        ("blocks.0.squeeze", "pool", 0, 0),
        ("blocks.0.squeeze.reduce", "conv 1x1", 16 * 4 + 4, 16 * 4),
        ("blocks.0.squeeze.expand", "conv 1x1", 4 * 16 + 16, 4 * 16),
        ("blocks.0.squeeze", "multiply", 0, 0),
        ("blocks.0.project.conv", "conv 1x1", 16 * 8 + 16, 16 * 8 * 16),
        ("blocks.0", "add", 0, 0),
    ]


def test_attention_counts_its_matrix_products() -> None:
    """4 heads of 8 on 6 x 6 pixels, keys and values on 3 x 3: each product is 4 x 36 x 8 x 9."""
    graph = trace(network(Attention(16, heads=4, key_dim=8, kv_stride=2), c_in=16), (1, 16, 6, 6))
    assert [layer.macs for layer in graph.layers if layer.kind == "matmul"] == [4 * 36 * 8 * 9] * 2
    assert sum(layer.macs for layer in graph.layers if layer.name == "blocks.0.query") == 36 * 16 * 32
    assert graph.layers[0].kind == "norm"  # the shortcut still needs what comes before it


def test_a_shortcut_is_read_by_the_addition() -> None:
    graph = trace(network(Conv(8, kernel=3), Bottleneck(16, 8)), (1, 3, 4, 4))
    addition = graph.layers[-1]
    assert addition.kind == "add"
    assert graph.layers[0].output in addition.inputs


def test_every_layer_knows_its_block() -> None:
    graph = trace(Model(ModelSpec(backbone("mobilenet_v3_small", width=0.35), LABELS)), (1, 3, 32, 32))
    blocks = [layer.block for layer in graph.layers]
    assert sorted(set(blocks)) == [-1, *range(13)]
    assert [layer.name for layer in graph.layers if layer.block == -1] == ["pool", "backbone.tail.0.conv", "head.linear"]


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_are_those_of_the_module(name: str) -> None:
    with torch.device("meta"):
        model = Model(ModelSpec(backbone(name, width=0.5), LABELS))
    assert trace(model, (1, 3, 64, 64)).params == sum(x.numel() for x in model.parameters())


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2_resnet", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium"])
def test_macs_are_half_the_flops_that_torch_counts(name: str) -> None:
    with torch.device("meta"):
        model = Model(ModelSpec(backbone(name, width=0.5), LABELS)).eval()
        x = torch.empty(1, 3, 72, 56)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    assert 2 * trace(model, x.shape).macs == counter.get_total_flops()


@pytest.mark.parametrize("padding", ["tf", "symmetric"])
def test_shapes_are_those_of_a_real_run(padding: str) -> None:
    spec = backbone("mobilenet_v2", width=0.1, padding=padding, output_stride=16)  # type: ignore[arg-type]  # as listed
    network = Backbone(spec).eval()
    graph = trace(network, (2, 3, 75, 50))
    assert graph.shapes[graph.outputs[0]] == tuple(network(torch.zeros(2, 3, 75, 50)).shape)


def test_a_batch_multiplies_macs_alone() -> None:
    network = Backbone(backbone("mobilenet_v1", width=0.25))
    one, four = trace(network, (1, 3, 32, 32)), trace(network, (4, 3, 32, 32))
    assert (four.params, four.macs) == (one.params, 4 * one.macs)


def test_the_model_is_left_as_it_was() -> None:
    model = Model(ModelSpec(backbone("mobilenet_v2", width=0.1), LABELS)).train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    trace(model, (1, 3, 32, 32))
    assert model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_other_input_channels() -> None:
    model = Model(
        ModelSpec(backbone("mobilenet_v2", in_channels=1), LABELS, InputContract(channels=1, mean=(0.5,), std=(0.5,)))
    )
    assert trace(model, (1, 1, 32, 32)).layers[0].params == 9 * 32 + 64


def test_a_wrong_shape_is_an_error_of_ours() -> None:
    with pytest.raises(SpecError, match="cannot run on an input of 1x4x32x32"):
        trace(Backbone(backbone("mobilenet_v2", width=0.1)), (1, 4, 32, 32))


def test_any_module_can_be_traced() -> None:
    graph = trace(nn.Sequential(nn.Conv2d(3, 4, 3, groups=1), nn.SiLU(), nn.Flatten(), nn.Linear(144, 5)), (1, 3, 8, 8))
    assert [(layer.name, layer.kind, layer.macs) for layer in graph.layers] == [
        ("0", "conv", 27 * 4 * 36),
        ("3", "linear", 144 * 5),
    ]


class TwoMaps(nn.Module):
    """Returns a map and that map joined with an earlier one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = torch.relu(self.first(x))
        return {"fine": fine, "joined": torch.cat([fine, self.second(fine)], dim=1)}


def test_networks_with_several_outputs_and_joins() -> None:
    graph = trace(TwoMaps(), (1, 3, 8, 8))
    assert [layer.kind for layer in graph.layers] == ["conv", "conv", "concat"]
    assert [graph.shapes[value] for value in graph.outputs] == [(1, 4, 8, 8), (1, 8, 8, 8)]
    assert set(graph.layers[2].inputs) == {graph.layers[0].output, graph.layers[1].output}
    assert plan(graph, "int8").live_bytes == ((3 + 4) * 64, (4 + 4) * 64, (4 + 4 + 8) * 64)


def test_operators_in_words() -> None:
    with torch.device("meta"):
        graph = trace(Backbone(backbone("mobilenet_v2", output_stride=16)), (1, 3, 64, 64))
    operators = {layer.operator for layer in graph.layers}
    assert operators == {
        *("conv 3x3 /2", "conv 1x1", "depthwise 3x3", "depthwise 3x3 /2", "depthwise 3x3 dilated 2", "add"),
    }
    assert Layer("norm", "norm", (0,), 1).operator == "norm"

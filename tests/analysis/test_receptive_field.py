"""How far networks see."""

from __future__ import annotations

import pytest
import torch

from mobilenets.analysis.receptive_field import ReceptiveField, receptive_field, receptive_fields
from mobilenets.analysis.trace import trace
from mobilenets.net.backbone import Backbone
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Attention, BackboneSpec, Bottleneck, Conv, Row


def field(*rows: Row, size: int = 32) -> ReceptiveField:
    with torch.device("meta"):
        network = Backbone(BackboneSpec("test", rows))
    return receptive_field(trace(network, (1, 3, size, size)))


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v1", 315), ("mobilenet_v2", 491)])
def test_v1_and_v2_see_what_is_published(name: str, size: int) -> None:
    """Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill 2019."""
    with torch.device("meta"):
        graph = trace(Backbone(backbone(name)), (1, 3, 224, 224))
    assert receptive_field(graph) == ReceptiveField(size, 32)


def test_kernels_add_up_by_stride() -> None:
    assert field(Conv(8, kernel=3)) == ReceptiveField(3, 1)
    assert field(Conv(8, kernel=3, stride=2), Conv(8, kernel=3)) == ReceptiveField(7, 2)
    assert field(Conv(8, kernel=3, stride=2), Conv(8, kernel=5, stride=2), Conv(8)) == ReceptiveField(11, 4)


def test_squeeze_excite_and_attention_are_left_out() -> None:
    assert field(Conv(8, kernel=3), Bottleneck(16, 8, kernel=5, c_squeeze=8)) == ReceptiveField(7, 1)
    assert field(Conv(8, kernel=3), Attention(8, heads=2, key_dim=4, kv_stride=2)) == ReceptiveField(3, 1)


def test_dilation_keeps_the_field_as_stride_had_it() -> None:
    with torch.device("meta"):
        dilated = trace(Backbone(backbone("mobilenet_v2", output_stride=8)), (1, 3, 224, 224))
    assert receptive_field(dilated) == ReceptiveField(491, 8)


def test_every_map_has_its_field() -> None:
    with torch.device("meta"):
        graph = trace(Backbone(backbone("mobilenet_v1")), (1, 3, 224, 224))
    fields = receptive_fields(graph)
    assert [fields[layer.output].size for layer in graph.layers[:4]] == [3, 7, 7, 11]

"""Backbones: maps by name, output stride, channels."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import StochasticDepth

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.net.backbone import Backbone
from mobilenets.net.blocks import BottleneckBlock
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Universal, feature_maps, with_output_stride

SMALL = BackboneSpec(
    "small",
    (
        Conv(8, 3, 2),
        Bottleneck(8, 8),
        Bottleneck(16, 12, stride=2),
        Bottleneck(24, 12),
        Bottleneck(24, 16, kernel=5, stride=2),
        Universal(32, 16, 3, 5, stride=2),
        Bottleneck(32, 16),
        Bottleneck(32, 24, stride=2),
        Bottleneck(48, 24),
        Conv(40),
    ),
    tail=(Conv(48, norm=False),),
    padding="symmetric",
)


def test_maps_have_the_stride_their_name_says() -> None:
    backbone = Backbone(SMALL).eval()
    maps = backbone.maps(torch.zeros(1, 3, 64, 64), list(feature_maps(SMALL)))
    for name, found in maps.items():
        stride = int(name.removeprefix("s").partition(".")[0])
        at = stride // 2 if name.endswith(".expand") else stride
        assert found.shape == (1, feature_maps(SMALL)[name][1], 64 // at, 64 // at), name


def test_expansion_map_is_the_widened_input_of_the_first_block_of_its_stride() -> None:
    backbone = Backbone(SMALL).eval()
    x = torch.randn(1, 3, 64, 64)
    before = x
    for block in backbone.blocks[:7]:
        before = block(before)
    eighth = backbone.blocks[7]
    assert isinstance(eighth, BottleneckBlock)
    assert torch.equal(backbone.maps(x, ["s32.expand"])["s32.expand"], eighth.expand(before))


def test_last_map_is_what_forward_returns() -> None:
    backbone = Backbone(SMALL).eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(backbone.maps(x, ["s32"])["s32"], backbone(x))


def test_unknown_map_names_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown feature map 's33'; did you mean 's32'"):
        Backbone(SMALL).maps(torch.zeros(1, 3, 32, 32), ["s33"])


@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_stride_gives_a_denser_map_that_agrees_where_both_have_pixels(output_stride: int) -> None:
    sparse = Backbone(SMALL).eval()
    dense = Backbone(with_output_stride(SMALL, output_stride)).eval()
    dense.load_state_dict(sparse.state_dict())
    x = torch.randn(1, 3, 97, 97)
    step = 32 // output_stride
    found, expected = dense(x), sparse(x)
    assert found.shape[-1] == -(-97 // output_stride)
    torch.testing.assert_close(found[..., ::step, ::step], expected, rtol=1e-4, atol=1e-5)


def test_output_stride_16_keeps_the_last_map_at_14() -> None:
    assert Backbone(with_output_stride(SMALL, 16)).eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 40, 14, 14)


def test_output_stride_outside_the_papers_is_refused() -> None:
    with pytest.raises(SpecError, match="output stride 12 is not one of 8, 16, 32"):
        with_output_stride(SMALL, 12)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("size", [33, 40])
def test_any_channels_and_sizes_go_in(channels: int, size: int) -> None:
    spec = BackboneSpec("grey", SMALL.rows, SMALL.tail, in_channels=channels)
    assert Backbone(spec).eval().features(torch.zeros(2, channels, size, size)).shape == (2, 48)


def test_stochastic_depth_grows_linearly_to_its_peak() -> None:
    spec = BackboneSpec("deep", SMALL.rows, stochastic_depth=0.9)
    drops = [module.p for module in Backbone(spec).modules() if isinstance(module, StochasticDepth)]
    assert drops == pytest.approx([0.9 * i / 9 for i in range(1, 9)])

"""Blocks against hand calculations and, for padding and attention, independent formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mobilenets.net.blocks import AttentionBlock, BottleneckBlock, LayerScale, PaddedConv2d, UniversalBlock, build_block
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    Padding,
    Place,
    ResNetBottleneck,
    Row,
    Separable,
    Universal,
)

LIKE = BackboneSpec("test", (Conv(8),), padding="symmetric")


def block_of(row: Row, c_in: int = 8, *, drop: float = 0.0) -> nn.Module:
    return build_block(Place(row, c_in, row.stride, 1, 1), LIKE, drop=drop)


def ones_response(rule: Padding, size: int, kernel: int) -> list[float]:
    """How many real pixels each output of a stride-2 convolution of ones sees along one side."""
    conv = PaddedConv2d(1, 1, kernel, stride=2, rule=rule)
    nn.init.ones_(conv.weight)
    with torch.inference_mode():
        out = conv(torch.ones(1, 1, size, size))
    return [round(float(v) ** 0.5, 3) for v in out[0, 0].diagonal()]


@pytest.mark.parametrize(
    ("rule", "size", "kernel", "seen"),
    [
        ("tf", 6, 3, [3, 3, 2]),  # nothing before, one after
        ("tf", 7, 3, [2, 3, 3, 2]),  # one on both sides
        ("tf", 6, 5, [4, 5, 3]),  # one before, two after
        ("tf", 7, 5, [3, 5, 5, 3]),  # two on both sides
        ("symmetric", 6, 3, [2, 3, 3]),
        ("symmetric", 6, 5, [3, 5, 4]),
        ("end", 6, 3, [3, 3, 2]),
        ("end", 7, 3, [3, 3, 3]),  # one after, which the last window does not reach
    ],
)
def test_strided_padding_follows_the_rule(rule: Padding, size: int, kernel: int, seen: list[int]) -> None:
    assert ones_response(rule, size, kernel) == seen


def test_unstrided_padding_is_symmetric_under_every_rule() -> None:
    x = torch.randn(1, 2, 7, 6)
    outputs = []
    for rule in ("tf", "symmetric", "end"):
        conv = PaddedConv2d(2, 3, 3, dilation=2, rule=rule)
        nn.init.constant_(conv.weight, 0.5)
        outputs.append(conv(x))
    assert all(torch.equal(out, outputs[0]) and out.shape == (1, 3, 7, 6) for out in outputs)


@pytest.mark.parametrize(
    ("row", "residual"),
    [
        (Bottleneck(48, 8), True),
        (Bottleneck(48, 8, stride=2), False),
        (Bottleneck(48, 16), False),
        (Bottleneck(48, 8, shortcut="none"), False),
        (Fused(32, 8), True),
        (Fused(32, 16), False),
        (Universal(32, 8, 3, 3), True),
        (Universal(32, 8, 3, 3, stride=2), False),
        (Attention(8, 2, 4), True),
    ],
)
def test_residual_is_there_where_stride_is_one_and_channels_agree(row: Row, residual: bool) -> None:
    block = block_of(row).eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    x = torch.randn(2, 8, 6, 6)
    out = block(x)
    assert torch.equal(out, x) if residual else not out.any()


def test_bottleneck_is_linear_and_its_relu6_ablation_is_not() -> None:
    linear, clipped = block_of(Bottleneck(48, 16)), block_of(Bottleneck(48, 16, project_activation="relu6"))
    clipped.load_state_dict(linear.state_dict())
    x = torch.randn(4, 8, 6, 6)
    assert torch.equal(clipped(x), functional.relu6(linear(x)))
    assert linear(x).min() < 0


def test_no_expansion_layer_when_it_would_not_widen() -> None:
    names = dict(block_of(Bottleneck(8, 4)).named_parameters())
    assert not any(name.startswith("expand") for name in names)


def test_shortcut_between_expansions_adds_the_wide_tensors() -> None:
    block = block_of(Bottleneck(48, 8, shortcut="expansion")).eval()
    assert isinstance(block, BottleneckBlock)
    x = torch.randn(1, 8, 5, 5)
    wide = block.expand(x)
    assert torch.equal(block(x), block.project(block.depthwise(wide) + wide))


@pytest.mark.parametrize(
    ("start", "middle", "layers"),
    [
        (3, 5, ["start", "expand", "middle", "project"]),  # ExtraDW
        (0, 3, ["expand", "middle", "project"]),  # inverted bottleneck
        (3, 0, ["start", "expand", "project"]),  # ConvNext-like
        (0, 0, ["expand", "project"]),  # FFN
    ],
)
def test_universal_block_becomes_its_four_instances(start: int, middle: int, layers: list[str]) -> None:
    block = block_of(Universal(32, 8, start, middle))
    assert list(dict.fromkeys(name.split(".")[0] for name, _ in block.named_parameters())) == layers


def test_universal_block_strides_in_the_middle_or_else_at_the_start() -> None:
    both, only_start = block_of(Universal(32, 8, 3, 3, stride=2)), block_of(Universal(32, 8, 3, 0, stride=2))
    assert isinstance(both, UniversalBlock)
    assert isinstance(only_start, UniversalBlock)
    x = torch.randn(1, 8, 8, 8)
    assert both.start(x).shape[-1] == 8
    assert both(x).shape[-1] == 4
    assert only_start.start(x).shape[-1] == 4


def test_attention_is_softmax_of_scaled_products_with_one_key_and_value_for_all_heads() -> None:
    block = block_of(Attention(8, heads=3, key_dim=4, kv_stride=2, layer_scale=False)).eval()
    assert isinstance(block, AttentionBlock)
    x = torch.randn(2, 8, 6, 6)
    y = block.norm(x)
    query = block.query(y).view(2, 3, 4, 36)
    key = block.key(block.key_reduce(y)).view(2, 4, 9)
    value = block.value(block.value_reduce(y)).view(2, 4, 9)
    weights = torch.einsum("nhdq,ndk->nhqk", query, key).div(2).softmax(-1)  # sqrt(key_dim) = 2
    mixed = torch.einsum("nhqk,ndk->nhdq", weights, value).reshape(2, 12, 6, 6)
    torch.testing.assert_close(block(x), x + block.project(mixed))


def test_layer_scale_starts_at_1e_5() -> None:
    block = block_of(Universal(32, 8, 3, 3, layer_scale=True))
    assert isinstance(block, UniversalBlock)
    assert isinstance(block.scale, LayerScale)
    assert torch.equal(block.scale.weight, torch.full((8,), 1e-5))


def test_stochastic_depth_drops_whole_branches_in_training_only() -> None:
    block = block_of(Bottleneck(48, 8), drop=0.5)
    x = torch.randn(64, 8, 4, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = (block.train()(x) != x).flatten(1).any(1)
    assert 0 < int(kept.sum()) < 64
    assert (block.eval()(x) != x).flatten(1).any(1).all()


def test_resnet_bottleneck_projects_its_shortcut_where_shapes_differ() -> None:
    same = {name.split(".")[0] for name, _ in block_of(ResNetBottleneck(4, 8)).named_parameters()}
    wider = {name.split(".")[0] for name, _ in block_of(ResNetBottleneck(4, 16, stride=2)).named_parameters()}
    assert wider - same == {"shortcut"}


def test_separable_block_is_depthwise_then_pointwise() -> None:
    shapes = [tuple(p.shape) for name, p in block_of(Separable(16)).named_parameters() if "conv" in name]
    assert shapes == [(8, 1, 3, 3), (16, 8, 1, 1)]


def test_conv_without_norm_has_a_bias() -> None:
    assert [name for name, _ in block_of(Conv(4, norm=False)).named_parameters()] == ["conv.weight", "conv.bias"]


@pytest.mark.parametrize("height", [1, 5])
@pytest.mark.parametrize("rule", ["symmetric", "tf"])
def test_the_16_bit_gradient_of_a_strided_convolution_is_whole_on_a_map_one_pixel_wide(rule: Padding, height: int) -> None:
    """As in SSD's last layers on small images. What memory held before, here no numbers, must not come through."""
    convolution = PaddedConv2d(16, 24, 3, stride=2, rule=rule)
    x = torch.randn(4, 16, height, 1, generator=torch.Generator().manual_seed(0))
    wide, narrow = convolution.weight.detach().clone(), convolution.weight
    expected = torch.autograd.grad(functional.conv2d(x, wide.requires_grad_(), stride=2, padding=1).sum(), wide)[0]
    for _ in range(20):
        spoiled = [torch.full_like(wide, torch.nan, dtype=torch.bfloat16) for _ in range(10)]
        del spoiled
        with torch.autocast("cpu", torch.bfloat16):
            found = torch.autograd.grad(convolution(x).sum(), narrow)[0]
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)

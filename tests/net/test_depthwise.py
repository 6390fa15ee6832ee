from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mobilenets.net.blocks import PaddedConv2d
from mobilenets.net.depthwise import depthwise


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [((13, 17), 3, 2, 1, 1), ((12, 16), 3, 2, 0, 1), ((13, 17), 5, 2, 2, 1), ((14, 15), 3, 1, 2, 2), ((23, 31), 5, 1, 8, 4)],
)
@pytest.mark.parametrize("last", [False, True])
def test_value_and_gradients_are_those_of_torch_within_rounding(
    size: tuple[int, int], kernel: int, stride: int, padding: int, dilation: int, last: bool
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, *size), torch.randn(6, 1, kernel, kernel)
    x = x.bfloat16().float().contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    weight = weight.bfloat16().float()
    x.requires_grad_()
    weight.requires_grad_()
    expected = functional.conv2d(x, weight, None, stride, padding, dilation, 6)
    given = torch.randn_like(expected).bfloat16()
    by_torch = torch.autograd.grad(expected, (x, weight), given.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = depthwise(x, weight, stride=(stride, stride), padding=(padding, padding), dilation=(dilation, dilation))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0.02)
    for one, other in zip(torch.autograd.grad(found, (x, weight), given), by_torch, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.008, atol=0.001)  # 8 bits of mantissa


def test_in_32_bits_it_is_torchs_own() -> None:
    x, weight = torch.randn(1, 4, 9, 9, requires_grad=True), torch.randn(4, 1, 3, 3)
    found = depthwise(x, weight, stride=(2, 2), padding=(1, 1), dilation=(1, 1))
    assert found.grad_fn is not None
    assert found.grad_fn.name() == "ConvolutionBackward0"
    torch.testing.assert_close(found, functional.conv2d(x, weight, None, 2, 1, 1, 4), rtol=0, atol=0)


@pytest.mark.parametrize(("stride", "dilation", "own"), [(1, 1, False), (2, 1, True), (1, 2, True)])
def test_a_layer_takes_this_way_in_16_bits_where_torch_is_slow(stride: int, dilation: int, own: bool) -> None:
    layer = PaddedConv2d(4, 4, 3, stride=stride, dilation=dilation, groups=4, rule="tf")
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(torch.randn(1, 4, 9, 9))
    assert found.grad_fn is not None
    assert (found.grad_fn.name() == "_DepthwiseBackward") == own
    with torch.no_grad():
        torch.testing.assert_close(layer(torch.ones(1, 4, 9, 9)), layer.double()(torch.ones(1, 4, 9, 9).double()).float())


def test_shapes_can_be_traced_without_values() -> None:
    layer = PaddedConv2d(4, 4, 3, stride=2, groups=4).to("meta")
    assert layer(torch.empty(1, 4, 9, 9, device="meta")).shape == (1, 4, 5, 5)

"""A depthwise convolution that trains in 16 bits on a CPU without a slow backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

Pair = tuple[int, int]


def depthwise(x: Tensor, weight: Tensor, *, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """A convolution with one filter per channel, like `torch.nn.functional.conv2d` with as many groups as channels.

    torch has no fast CPU kernel for the 16-bit gradient of a strided or dilated depthwise convolution: the gradient takes up to
    fifty times as long as the convolution. A fast 32-bit kernel exists, so the gradient is computed in 32 bits and rounded.

    Args:
        x: N C H W.
        weight: C 1 k k.
        stride, padding, dilation: vertical and horizontal.

    Returns:
        N C H W, in the data type that autocast selects.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    if _is_slow(x, stride, dilation):
        result: Tensor = _Depthwise.apply(x, weight, stride, padding, dilation)
        return result
    return functional.conv2d(x, weight, None, stride, padding, dilation, x.shape[1])


def _is_slow(x: Tensor, stride: Pair, dilation: Pair) -> bool:
    learns = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return learns and x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16) and max(*stride, *dilation) > 1


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:  # Any: torch's
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding, dilation
        return functional.conv2d(x, weight, None, stride, padding, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:  # Any: torch's
        x, weight = ctx.saved_tensors
        needed = (*ctx.needs_input_grad[:2], False)
        wide = (grad.float(), x.float(), weight.float())
        gradients = torch.ops.aten.convolution_backward(*wide, None, *ctx.settings, False, (0, 0), x.shape[1], needed)
        of_x, of_weight = (None if gradient is None else gradient.to(x.dtype) for gradient in gradients[:2])
        return of_x, of_weight, None, None, None

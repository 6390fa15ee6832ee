"""Fake quantization: rounds reals to multiples of a scale, with gradients for the reals and for the scale.

Rounding has no useful gradient, so the gradient passes through unchanged (straight-through estimator, Bengio et al. 2013). The
gradient of the scale is that of learned step size quantization (LSQ, Esser et al. 2020, eq. 3): the rounding error in steps
where a number is within the bounds, and the bound where it is clipped.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mobilenets.deploy.quantization import HIGHEST, LOWEST


class Bounds(NamedTuple):
    """The smallest and largest multiple of the scale that 8 bits can represent."""

    low: int
    high: int


WEIGHTS = Bounds(-HIGHEST, HIGHEST)
"""Weights are symmetric, without -128."""


def bounds(zero_point: int) -> Bounds:
    """The bounds of a value with this zero point.

    >>> bounds(-128)
    Bounds(low=0, high=255)
    """
    return Bounds(LOWEST - zero_point, HIGHEST - zero_point)


def snap(x: Tensor, scale: Tensor, within: Bounds) -> Tensor:
    """The nearest multiples of the scale within the bounds.

    Args:
        x: reals of any shape.
        scale: a single number, positive.
        within: bounds, in steps of the scale.
    """
    return _Snap.apply(x, scale, within)  # type: ignore[no-any-return]  # torch gives it no types


def snap_channels(weight: Tensor, scales: Tensor) -> Tensor:
    """The nearest multiples of each output channel's scale, at most `WEIGHTS` steps from 0.

    Args:
        weight: O ...
        scales: O, positive.
    """
    return _SnapChannels.apply(weight, scales)  # type: ignore[no-any-return]  # torch gives it no types


def snap_bias(bias: Tensor, scales: Tensor) -> Tensor:
    """The nearest multiples of the scales. A bias never exceeds 32 bits, because its scale has a lower bound.

    Args:
        bias: O.
        scales: O, in 64-bit floats.
    """
    with torch.no_grad():
        moved = (bias_integers(bias, scales) * scales).to(bias.dtype) - bias
    return bias + moved


def weight_integers(weight: Tensor, scales: Tensor) -> Tensor:
    """Weights as 8-bit integers: the multiples that `snap_channels` rounds to."""
    return _steps(weight, scales).round().clamp(WEIGHTS.low, WEIGHTS.high).to(torch.int8)


def bias_integers(bias: Tensor, scales: Tensor) -> Tensor:
    """Biases as 32-bit integers, for scales in 64-bit floats."""
    return torch.round(bias.double() / scales).to(torch.int32)


def _steps(weight: Tensor, scales: Tensor) -> Tensor:
    return weight / _along(weight, scales)


def _along(weight: Tensor, scales: Tensor) -> Tensor:
    return scales.reshape(-1, *[1] * (weight.ndim - 1))


class _Snap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, within: Bounds) -> Tensor:  # Any: torch's context
        steps = x * (1 / scale)
        nearest = steps.round()
        kept = nearest.clamp(within.low, within.high)
        ctx.save_for_backward(steps, kept, nearest == kept)
        return kept * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:  # Any: as above
        steps, kept, inside = ctx.saved_tensors
        through = gradient * inside
        if not ctx.needs_input_grad[1]:
            return through, None, None
        of_scale = (gradient * kept).sum() - (through * steps).sum()
        return through, (of_scale * _share(gradient[0].numel())).reshape(()), None


class _SnapChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor) -> Tensor:  # Any: torch's context
        steps = _steps(weight, scales)
        nearest = steps.round()
        kept = nearest.clamp(WEIGHTS.low, WEIGHTS.high)
        ctx.save_for_backward(steps, kept, nearest == kept)
        return kept * _along(weight, scales)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:  # Any: as above
        steps, kept, inside = ctx.saved_tensors
        through = gradient * inside
        if not ctx.needs_input_grad[1]:
            return through, None
        of_scales = (gradient * kept - through * steps).flatten(1).sum(1)
        return through, of_scales * _share(gradient[0].numel())


def _share(numbers: int) -> float:
    """The factor that brings the gradient of a scale to the magnitude of a weight's gradient (LSQ, section 2.2)."""
    return 1 / math.sqrt(max(numbers, 1) * HIGHEST)

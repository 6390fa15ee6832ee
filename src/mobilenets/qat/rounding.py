"""Rounding of operator outputs as in an int8 graph: like the TFLite specification, most are rounded twice.

A sum of products is multiplied by a 31-bit factor and rounded to a fixed-point number with some fractional bits, which is then
rounded to an integer (`deploy/integers.py`). This moves one number in a thousand to the next step, which affects later layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mobilenets.deploy import operators as op
from mobilenets.deploy.integers import factor
from mobilenets.deploy.quantization import LOWEST
from mobilenets.deploy.shapes import Shape
from mobilenets.qat.snap import Bounds

_EXACT = 20
"""With this many fractional bits, the first rounding makes no difference."""
_MANTISSA_BITS = 31
_NEAR = 2.0**-14  # steps


def bits_kept(operator: op.Operator, read: Sequence[Tensor], made: Tensor, shapes: Sequence[Shape]) -> Tensor:
    """The number of fractional bits that the first rounding keeps: one number, or one per output channel.

    Args:
        operator: an operator with an int8 output.
        read: scales of its inputs and weights, one or O numbers each.
        made: scale of its output.
        shapes: shapes of its inputs, without the batch axis.
    """
    products = isinstance(operator, op.Conv | op.Depthwise | op.Dense | op.Multiply | op.MatMul)
    if products and len(read) == 2:
        return _behind_the_point(read[0].double() * read[1].double() / made.double())
    if isinstance(operator, op.Pool) and shapes[0][1:] == operator.kernel:
        count = math.prod(operator.kernel)
        whole = _behind_the_point(read[0].double() / made.double(), least=-_MANTISSA_BITS)
        return torch.clamp(whole + (count.bit_length() - 1), max=_MANTISSA_BITS).clamp(min=0)
    requantizes = isinstance(operator, op.Quantize) or getattr(operator, "kind", "") in ("relu", "relu6")
    if requantizes and read:
        return _behind_the_point(read[0].double() / made.double())
    return torch.tensor(_EXACT)


def settled(x: Tensor, scale: Tensor, within: Bounds, bits: Tensor) -> Tensor:
    """Round a sum, a product or a curve to multiples of the scale, with the double rounding of int8 kernels.

    Args:
        x: reals, N C ... or N C.
        scale: a single number.
        within: bounds, in steps of the scale.
        bits: the result of `bits_kept`.
    """
    steps, bits = x / scale, bits.to(x.device)
    if bits.ndim:
        bits = bits.reshape(-1, *[1] * (x.ndim - 2))
    finer = torch.exp2(bits.to(steps))
    once = torch.where(bits == _EXACT, steps, torch.floor(steps * finer + 0.5) / finer)
    return _away(once).clamp(within.low, within.high) * scale


def settled_mean(x: Tensor, scale: Tensor, within: Bounds) -> Tensor:
    """The same for means and interpolations of integers, which keep their scale and round the stored integers away from 0, not
    from the zero point. Halves are frequent among them, and floats may miss them slightly.

    Args:
        x: reals, N C h w.
        scale: a single number.
        within: bounds, in steps.
    """
    zero_point = LOWEST - within.low
    stored = x / scale + zero_point
    stored = stored + torch.copysign(torch.full_like(stored, _NEAR), stored)
    return (_away(stored) - zero_point).clamp(within.low, within.high) * scale


def _away(steps: Tensor) -> Tensor:
    """The nearest integers; halves are rounded away from zero."""
    return torch.copysign(torch.floor(steps.abs() + 0.5), steps)


def _behind_the_point(real: Tensor, *, least: int = 0) -> Tensor:
    shifts = torch.from_numpy(np.asarray(factor(real.detach().cpu().numpy()).shifts)).to(real.device)
    return torch.clamp(-shifts, min=least)

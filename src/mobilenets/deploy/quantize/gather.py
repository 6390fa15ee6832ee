"""Means and second moments of the inputs of convolutions and linear layers, in the float and in the quantized network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import layout
from mobilenets.deploy import operators as op
from mobilenets.deploy.quantize.parts import Parts
from mobilenets.deploy.quantize.values import Value
from mobilenets.deploy.quantize.weights import Moments

Numbers = NDArray[np.float32]

_LEAST = 0.1  # this share of the typical power is added to each image's, so that nearly empty images do not dominate
_PLACES = 1 << 16  # most output positions per operator that the moments are computed from


def image_shares(meant: NDArray[Any]) -> NDArray[np.float64]:  # Any: floats of 16 or 32 bits
    """The weight of each image in the fit, N, with mean 1: inversely proportional to the power of the layer's output.

    The output of a layer can have a hundred times more power for some images than for others. If all squared errors counted
    equally, the weights would be fitted to those few images at the expense of all others (LOG.md).

    Args:
        meant: the output of the layer in the float network, N ....
    """
    power = np.asarray([np.mean(np.square(image, dtype=np.float64)) for image in meant])
    typical = np.median(power) or power.mean() or 1.0
    unscaled = 1 / (power + _LEAST * typical)
    shares: NDArray[np.float64] = unscaled / unscaled.mean()
    return shares


def moments(
    operator: op.Weighted, shape: tuple[int, ...], value: Value, shares: NDArray[np.float64]
) -> tuple[Moments, Moments]:
    """The moments of a layer's inputs, on the images with even and on those with odd index; twice the same for one image.

    Args:
        operator: a convolution or linear layer.
        shape: the shape of its weights.
        value: the value that it reads.
        shares: the weight of each image, N.
    """
    groups = shape[0] if isinstance(operator, op.Depthwise) else 1
    parts = Parts.of(shape)
    halves = (Moments(groups * parts.count, parts.length), Moments(groups * parts.count, parts.length))
    each = max(1, _PLACES // (len(value) * (16 if isinstance(operator, op.Depthwise) else 1)))
    for i in range(len(value)):  # one image at a time: the windows of a feature map are many times larger than the map
        one = slice(i, i + 1)
        meant, read = (layout.seen(operator, shape, x) for x in (value.meant_on(one), value.made_on(one)))
        places = read.shape[-1]
        some = np.random.default_rng(i).permutation(places)[:each] if places > each else slice(None)
        halves[i % 2].add(*(_together(x[..., some], parts) for x in (read, meant)), share=shares[i])
    return halves if halves[1].count else (halves[0], halves[0])


def _together(seen: Numbers, parts: Parts) -> Numbers:
    """Reshape N G K positions to G K n, with each group cut into its parts."""
    together = np.ascontiguousarray(seen.transpose(1, 2, 0, 3)).reshape(*seen.shape[1:3], -1)
    return parts.apart(together).reshape(-1, parts.length, together.shape[2])

"""Moments of what a weighted operator reads, in the network in floats and in the quantized one."""

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

_LEAST = 0.1  # of the typical power, added to each, so that no image with next to nothing decides
_PLACES = 1 << 16  # that moments are taken of, at most, for each operator


def image_shares(meant: NDArray[Any]) -> NDArray[np.float64]:  # Any: floats of 16 or 32 bits
    """How much each image counts, N and 1 on average, so that noise counts by its share of what a layer makes of the image.

    What a layer makes of some images has a hundred times the power of what it makes of others. If every square counts alike,
    weights are fitted to these few images, and the answers for all others pay for it (LOG.md).

    Args:
        meant: what the layer makes in floats, N ....
    """
    power = np.asarray([np.mean(np.square(image, dtype=np.float64)) for image in meant])
    typical = np.median(power) or power.mean() or 1.0
    unscaled = 1 / (power + _LEAST * typical)
    shares: NDArray[np.float64] = unscaled / unscaled.mean()
    return shares


def moments(
    operator: op.Weighted, shape: tuple[int, ...], value: Value, shares: NDArray[np.float64]
) -> tuple[Moments, Moments]:
    """Of what a weighted operator reads, in places of every other image, and of the rest; of one image the same twice.

    Args:
        operator: a convolution or linear layer.
        shape: of its weights.
        value: that it reads.
        shares: how much each image counts, N.
    """
    groups = shape[0] if isinstance(operator, op.Depthwise) else 1
    parts = Parts.of(shape)
    halves = (Moments(groups * parts.count, parts.length), Moments(groups * parts.count, parts.length))
    each = max(1, _PLACES // (len(value) * (16 if isinstance(operator, op.Depthwise) else 1)))
    for i in range(len(value)):  # one at a time: windows of a map are many times as large as the map
        one = slice(i, i + 1)
        meant, read = (layout.seen(operator, shape, x) for x in (value.meant_on(one), value.made_on(one)))
        places = read.shape[-1]
        some = np.random.default_rng(i).permutation(places)[:each] if places > each else slice(None)
        halves[i % 2].add(*(_together(x[..., some], parts) for x in (read, meant)), share=shares[i])
    return halves if halves[1].count else (halves[0], halves[0])


def _together(seen: Numbers, parts: Parts) -> Numbers:
    """N G K places as G K n, each group in parts."""
    together = np.ascontiguousarray(seen.transpose(1, 2, 0, 3)).reshape(*seen.shape[1:3], -1)
    return parts.apart(together).reshape(-1, parts.length, together.shape[2])

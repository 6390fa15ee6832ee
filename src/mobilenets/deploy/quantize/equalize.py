"""Cross-layer equalization: rescales the channels of a float network so that they use the 256 integers of a value better.

All channels of a value share one scale, so a channel with a large range leaves few integers to the others. A channel can be
divided by a factor and the weights that read it multiplied by the same factor; the network stays the same as long as everything
in between is linear or a ReLU (Nagel et al. 2019, section 4.1). This moves quantization noise from the activations to the
weights. To balance the two, a channel is divided by range**a / size**(1 - a), where range is its own range and size that of the
weights that read it (SmoothQuant, Xiao et al. 2023, eq. 4). The a with the lowest estimated noise is used; if none lowers it
enough, the channels stay as they are.

This rescues networks whose channel ranges differ by a factor of hundreds, as can happen after batch norm folding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import HIGHEST
from mobilenets.deploy.quantize.groups import Groups
from mobilenets.deploy.quantize.prepare import WEIGHTED

Channels = NDArray[np.float64]

_HOMOGENEOUS = ("linear", "relu")  # activations with f(s x) = s f(x) for s > 0
_SAME_CHANNELS = (op.Add, op.Pool, op.Resize, op.Flatten, op.Multiply)  # operators that pass on a factor of a channel
_SHARES = (0.25, 0.5, 0.75, 1.0)  # candidates for a
_GAIN = 0.5  # equalize only if the estimated noise falls to less than this share: the estimate does not always hold
_QUIET = 1e-6  # a channel with less than this share of the largest range is dead
_IMAGES = 64


@dataclass(frozen=True, slots=True)
class _Seen:
    """The largest magnitude and the mean square of each channel of a value, over some images."""

    largest: Channels
    square: Channels


def equalized(graph: Graph, images: NDArray[np.float32]) -> Graph:
    """The network with rescaled channels; it computes the same, up to floating-point rounding.

    Args:
        graph: a graph that `prepared` returned.
        images: calibration images, N C H W; only the first 64 are used.
    """
    seen = _observed(graph, images[:_IMAGES])
    tensors: dict[str, NDArray[Any]] = dict(graph.tensors)  # Any: floats of 16 or 32 bits
    for group in tied(graph):
        factors = _factors(graph, tensors, group, seen)
        if factors is not None:
            tensors = rescaled(graph, tensors, group, factors)
    result = replace(graph, tensors=tensors)
    result.check()
    return result


def tied(graph: Graph) -> list[frozenset[str]]:
    """Groups of values whose channels must all be divided by the same factors; values that must not change are left out."""
    ties = Groups()
    fixed = {INPUT, *graph.outputs.values()}
    for operator in graph.operators:
        if getattr(operator, "activation", "linear") not in _HOMOGENEOUS:
            fixed.add(operator.output)
        if isinstance(operator, WEIGHTED):
            continue
        tied, loose = [operator.output], []
        if isinstance(operator, op.Multiply):
            tied.append(operator.inputs[0])
            loose.append(operator.inputs[1])  # a gate
        elif isinstance(operator, _SAME_CHANNELS) or (isinstance(operator, op.Activation) and operator.kind == "relu"):
            tied += operator.inputs
        else:
            loose += [*operator.inputs, *operator.made]
        fixed.update(loose)
        for name in tied[1:]:
            ties.join(name, tied[0])
    groups: dict[str, set[str]] = {}
    for name in (INPUT, *(operator.output for operator in graph.operators)):
        groups.setdefault(ties.of(name), set()).add(name)
    return [frozenset(group) for group in groups.values() if not group & fixed]


def _observed(graph: Graph, images: NDArray[np.float32]) -> dict[str, _Seen]:
    largest: dict[str, Channels] = {}
    square: dict[str, Channels] = {}
    for image in images:
        for name, numbers in reference.run_all(graph, image[np.newaxis]).items():
            axes = tuple(axis for axis in range(numbers.ndim) if axis != 1)
            magnitude = np.abs(numbers).max(axes).astype(np.float64)
            largest[name] = np.maximum(largest.get(name, 0.0), magnitude)
            mean = np.square(numbers, dtype=np.float64).mean(axes)
            square[name] = square.get(name, 0.0) + mean / len(images)
    return {name: _Seen(largest[name], square[name]) for name in largest}


def rescaled(
    graph: Graph, tensors: Mapping[str, NDArray[Any]], group: frozenset[str], factors: Channels
) -> dict[str, NDArray[Any]]:  # Any: floats of 16 or 32 bits
    """The weights after the channels of a group of values are divided by factors; the outputs of the network stay the same.

    Args:
        graph: the network.
        tensors: its current weights.
        group: a group that `tied` returned.
        factors: a positive factor for each channel.
    """
    made: dict[str, NDArray[Any]] = dict(tensors)
    for operator in graph.operators:
        if not isinstance(operator, WEIGHTED) or group.isdisjoint((operator.output, operator.inputs[0])):
            continue
        weight, bias = (made[name].astype(np.float64) for name in (operator.weight, operator.bias))
        if operator.output in group:
            weight, bias = weight / factors.reshape(-1, *[1] * (weight.ndim - 1)), bias / factors
        if operator.inputs[0] in group:
            axis = (-1, 1) if isinstance(operator, op.Depthwise) else (1, -1)
            weight = weight * factors.reshape(*axis, *[1] * (weight.ndim - 2))
        made[operator.weight], made[operator.bias] = weight.astype(np.float32), bias.astype(np.float32)
    return made


def _factors(
    graph: Graph, tensors: Mapping[str, NDArray[Any]], group: frozenset[str], seen: Mapping[str, _Seen]
) -> Channels | None:
    """The best factors to divide the channels of a group by; None if the group should stay as it is."""
    ranges = np.max([seen[name].largest for name in group], 0)
    reading = [operator for operator in graph.operators if operator.inputs[0] in group]
    readers = [
        (operator.inputs[0], weight)
        for operator in reading
        if isinstance(operator, op.Conv | op.Dense)
        and len(weight := _relative(tensors[operator.weight], seen[operator.inputs[0]]))  # skip dead layers
    ]
    depthwise = [operator.inputs[0] for operator in reading if isinstance(operator, op.Depthwise)]
    alive = ranges > _QUIET * ranges.max(initial=0)
    if not alive.any() or not (readers or depthwise):
        return None
    size = np.max([weight.max((0, 2)) for _, weight in readers], 0) if readers else np.ones_like(ranges)
    alive &= size > 0
    if not alive.any():
        return None
    candidates = [np.ones_like(ranges)]
    for share in _SHARES if readers else (1.0,):
        factors = np.ones_like(ranges)
        factors[alive] = ranges[alive] ** share / size[alive] ** (1 - share)
        factors[alive] /= np.exp(np.log(factors[alive]).mean())
        factors[~alive] = factors[alive].min()  # weights that read a dead channel must not determine the scale
        candidates.append(factors)
    noises = [_noise(factors, readers, depthwise, seen) for factors in candidates]
    best = int(np.argmin(noises))
    return candidates[best] if noises[best] < _GAIN * noises[0] else None


def _relative(weight: NDArray[np.float32], read: _Seen) -> NDArray[np.float64]:
    """Magnitudes of the weights, O C k·k, relative to the magnitude of each output; dead outputs are left out."""
    shaped = np.abs(weight.reshape(*weight.shape[:2], -1)).astype(np.float64)
    amount = np.sqrt((np.square(shaped).sum(2) * read.square).sum(1))
    shares: NDArray[np.float64] = shaped[amount > 0] / amount[amount > 0, np.newaxis, np.newaxis]
    return shares


def _noise(
    factors: Channels, readers: list[tuple[str, NDArray[np.float64]]], depthwise: list[str], seen: Mapping[str, _Seen]
) -> float:
    """Noise-to-signal ratio at the layers that read a group, from rounding activations and weights, summed over channels."""
    noise = 0.0
    for name, weight in readers:
        scaled = weight * factors[:, np.newaxis]
        noise += _step(seen[name], factors) ** 2 * np.square(scaled).sum()
        steps = scaled.max((1, 2)) / HIGHEST
        noise += np.square(steps).sum() * (seen[name].square / np.square(factors)).sum() * weight.shape[2]
    for name in depthwise:  # each channel has its own weight scale, so weight rounding does not depend on the factors
        alive = seen[name].square > 0
        noise += _step(seen[name], factors) ** 2 * (np.square(factors[alive]) / seen[name].square[alive]).sum()
    return float(noise)


def _step(seen: _Seen, factors: Channels) -> float:
    return float((seen.largest / factors).max()) / HIGHEST

"""The sensitivity of each layer: the noise of the outputs when only this layer is quantized and all others are in floats.

Each image passes through the float network once, and its activations are kept. Then each layer in turn is computed with its
integers, and only the operators after it are computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.integers import dequantize
from mobilenets.deploy.quantize.prepare import WEIGHTED
from mobilenets.deploy.quantize.quantize import Result
from mobilenets.deploy.quantize.ranges import snapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = dict[str, NDArray[Any]]  # Any: floats, and the indices of an argmax

IMAGES, LEAST_IMAGES = 8, 2
"""Images for measuring the noise. A few suffice: it is a mean over all outputs and varies little between images."""

_PIXELS = 224 * 224  # for inputs with more pixels than this, fewer images are used


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The effect of quantizing one layer on the outputs.

    Args:
        layer: name of an operator in the float network.
        operators: names of the corresponding operators in the quantized network.
        decibels: signal-to-noise ratio of the outputs when only this layer is quantized; infinite if it adds no noise.
        share: its noise as a share of the sum over all layers, each quantized alone, 0 to 1.
    """

    layer: str
    operators: tuple[str, ...]
    decibels: float
    share: float


def layers_of(graph: Graph, prepared: Graph) -> dict[str, tuple[str, ...]]:
    """The operators of the prepared network that correspond to each operator of the float network.

    Args:
        graph: the float network.
        prepared: the same network with activations split off; their names begin with the name of their operator.
    """
    names = {operator.name for operator in graph.operators}
    layers: dict[str, list[str]] = {}
    for operator in prepared.operators:
        owner = operator.name
        while owner not in names and "/" in owner:
            owner = owner.rpartition("/")[0]
        layers.setdefault(owner, []).append(operator.name)
    return {layer: tuple(operators) for layer, operators in layers.items()}


def images_of(graph: Graph) -> int:
    """The number of images on which the noise of a network's layers is measured."""
    height, width = graph.manifest.input.shape
    return max(LEAST_IMAGES, min(IMAGES, IMAGES * _PIXELS // (height * width)))


def sensitivities(
    graph: Graph, result: Result, images: NDArray[np.float32], *, advance: Callable[[int], object] = lambda _: None
) -> tuple[Sensitivity, ...]:
    """The sensitivity of each layer, in the order of the network.

    Args:
        graph: the float network.
        result: the quantized network.
        images: preprocessed, N C H W; only the first `images_of(graph)` are used.
        advance: called with 1 after each image and layer.
    """
    layers = layers_of(graph, result.prepared)
    integers = _Integers(result)
    signal = dict.fromkeys(graph.outputs, 0.0)
    noise = {layer: dict.fromkeys(graph.outputs, 0.0) for layer in layers}
    for i in range(min(images_of(graph), len(images))):
        values = reference.run_all(result.prepared, images[i : i + 1])
        for name, value in result.prepared.outputs.items():
            signal[name] += _power(values[value])
        for layer, operators in layers.items():
            changed = integers.only(frozenset(operators), values)
            for name, value in result.prepared.outputs.items():
                if value in changed:
                    noise[layer][name] += _power(changed[value] - values[value])
            advance(1)
    shares = {
        layer: float(np.mean([noise[layer][name] / max(signal[name], _TINY) for name in graph.outputs])) for layer in layers
    }
    total = max(sum(shares.values()), _TINY)
    return tuple(Sensitivity(layer, layers[layer], _decibels(share), share / total) for layer, share in shares.items())


class _Integers:
    """The operators of a quantized network, which can be computed one at a time in a float network."""

    def __init__(self, result: Result) -> None:
        self.prepared, self.made = result.prepared, result.graph
        self.weights = {
            operator.weight: dequantize(
                np.asarray(self.made.tensors[operator.weight], np.int8), self.made.quantization[operator.weight]
            )
            for operator in self.prepared.operators
            if isinstance(operator, WEIGHTED) and operator.weight in self.made.quantization
        }

    def only(self, names: frozenset[str], values: Mapping[str, NDArray[Any]]) -> Values:  # Any: as in `Values`
        """The values that change when only these operators are quantized.

        Args:
            names: names of operators in the prepared network.
            values: all values of the float network for the same image.
        """
        changed: Values = {}
        for operator in self.prepared.operators:
            inputs = [changed.get(name, values[name]) for name in operator.inputs]
            if operator.name in names:
                changed[operator.output] = self._rounded(operator, inputs)
            elif any(name in changed for name in operator.inputs):
                changed[operator.output] = reference.compute(operator, inputs, self.prepared.tensors)
        return changed

    def _rounded(self, operator: op.Operator, inputs: list[NDArray[Any]]) -> NDArray[Any]:  # Any: as above
        """The output of an operator with quantized weights and output. The mean error of each channel that its weights cause is
        removed, as the corrected bias does in the quantized network."""
        made = reference.compute(operator, inputs, self.prepared.tensors)
        if isinstance(operator, WEIGHTED) and operator.weight in self.weights:
            linear = replace(operator, activation="linear")
            plain = reference.compute(linear, inputs, self.prepared.tensors)
            tensors = {**self.prepared.tensors, operator.weight: self.weights[operator.weight]}
            error = reference.compute(linear, inputs, tensors) - plain
            error -= error.mean(axis=tuple(range(2, error.ndim)), keepdims=True) if error.ndim > 2 else 0
            made = reference.activate(plain + error, operator.activation)
        quantization = self.made.quantization.get(operator.output)
        return made if quantization is None else snapped(made, quantization)


def _power(x: NDArray[Any]) -> float:  # Any: floats
    return float(np.square(x, dtype=np.float64).sum())


def _decibels(noise: float) -> float:
    return float("inf") if noise == 0 else -10 * float(np.log10(noise))


_TINY = float(np.finfo(np.float64).tiny)

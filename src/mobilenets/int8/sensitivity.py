"""Which operators the noise comes from: the outputs when one operator is in integers and all others are in floats.

Each image goes through the float network once. From the values that are kept, each operator in turn is computed with its
integers, and only what comes after it is computed again.
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
"""Images that the noise is measured on: it is a mean over all numbers of the outputs, and varies little from image to image."""

_PIXELS = 224 * 224  # of an input up to which all of these images are used; of larger ones fewer


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What quantizing one layer does to the outputs.

    Args:
        layer: name of an operator of the float network.
        operators: of the quantized network that it became.
        decibels: signal to noise of the outputs when only this layer is in integers; infinite if it makes no noise.
        share: of the noise that all layers make, each alone, 0 to 1.
    """

    layer: str
    operators: tuple[str, ...]
    decibels: float
    share: float


def layers_of(graph: Graph, prepared: Graph) -> dict[str, tuple[str, ...]]:
    """The operators of the prepared network that each operator of the float network has become.

    Args:
        graph: the float network.
        prepared: the same with activations split off, whose names begin with that of their operator.
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
    """How many images the noise of a network's layers is measured on."""
    height, width = graph.manifest.input.shape
    return max(LEAST_IMAGES, min(IMAGES, IMAGES * _PIXELS // (height * width)))


def sensitivities(
    graph: Graph, result: Result, images: NDArray[np.float32], *, advance: Callable[[int], object] = lambda _: None
) -> tuple[Sensitivity, ...]:
    """The noise of each layer alone, in the order of the network.

    Args:
        graph: in floats.
        result: the graph quantized.
        images: preprocessed, N C H W; the first `images_of` are used.
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
    """The operators of a quantized network, each to be computed alone."""

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
        """Every value that becomes another when only these operators are in integers.

        Args:
            names: of operators of the prepared network.
            values: of the float network for the same image.
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
        """What an operator makes with weights and result in integers. The mean error of its weights in each channel is taken
        out, as the bias does in the quantized network."""
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

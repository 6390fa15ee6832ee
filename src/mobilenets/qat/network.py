"""`Int8Network`: an int8 graph as a torch module with trainable weights, biases and scales.

The graph determines where values are quantized, so the trained network is exactly the exported one, operator by operator. Each
weight is stored as a real and rounded to a multiple of its channel's scale; each operator's output is rounded to a multiple of
its value's scale (fake quantization). In evaluation mode this reproduces the integers of `deploy/reference_int8.py`, except for
sums that 32-bit floats cannot represent exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.deploy import layout
from mobilenets.deploy import operators as op
from mobilenets.deploy.file import structure_of
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import keeps_scale
from mobilenets.deploy.integers import dequantize
from mobilenets.deploy.quantization import LOWEST, Quantization, bias_scales
from mobilenets.deploy.quantize.prepare import WEIGHTED
from mobilenets.deploy.quantize.ranges import LEAST_SCALE
from mobilenets.qat.rounding import bits_kept, settled, settled_mean
from mobilenets.qat.rules import Weights, compute
from mobilenets.qat.snap import Bounds, bias_integers, bounds, snap, snap_bias, snap_channels, weight_integers

WeightedOperator = op.Conv | op.Depthwise | op.Dense

_PACE = 8.0  # at the same learning rate, the logarithm of a scale moves this much faster than a weight
_BIAS_BITS = 30  # a bias stays below 2**30 steps, so that the bias plus the sum fits 32 bits
_MOST_RATIO = 2.0**7  # input scale / output scale; runtimes refuse a file where this ratio is 2**8
_LEAST_WEIGHT_SCALE = 2.0**-40


class Layer(nn.Module):
    """The trainable parameters of an operator. Layers have the names of their modules in the float network.

    Args:
        operator: the operator.
        graph: its graph; the weights are dequantized and stored as reals.
    """

    def __init__(self, operator: WeightedOperator, graph: Graph) -> None:
        super().__init__()
        self.depthwise = isinstance(operator, op.Depthwise)
        weight: NDArray[Any] = graph.tensors[operator.weight]  # Any: floats or integers
        bias: NDArray[Any] = graph.tensors[operator.bias]  # Any: as above
        self.quantized = operator.weight in graph.quantization
        if self.quantized:
            steps = graph.quantization[operator.weight]
            read = graph.quantization[operator.inputs[0]]
            weight, bias = dequantize(weight, steps), (bias * bias_scales(read, steps)).astype(np.float32)
            scale = torch.from_numpy(np.broadcast_to(np.asarray(steps.scales, np.float32), len(weight)).copy())
            self.register_buffer("scale", scale)
            self.stretch = nn.Parameter(torch.zeros(len(weight)))
        self.weight, self.bias = (nn.Parameter(torch.from_numpy(np.array(tensor))) for tensor in (weight, bias))

    def scales(self) -> Tensor:
        """The scales of the weight, O, before the lower bound is applied."""
        return (self.get_buffer("scale") * torch.exp2(_PACE * self.stretch)).float()


@dataclass(frozen=True, slots=True)
class _Value:
    """How a value is rounded.

    Args:
        index: index of its scale; values whose integers pass through operators unchanged share one.
        within: its bounds, in steps of the scale.
    """

    index: int
    within: Bounds


class Int8Network(nn.Module):
    """Maps preprocessed images, N C H W, to the outputs of the graph: a tensor, or a tuple if there are several.

    Args:
        graph: an int8 graph with float input and outputs. Before training, the network computes the same integers.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.outputs = tuple(graph.outputs)
        self.structure = structure_of(graph)
        self._like = replace(graph, tensors={}, quantization={})
        self._shapes = graph.shapes()
        self._layers = {operator.name: self._add_layer(operator, graph) for operator in _weighted(graph)}
        names = [name for name in graph.quantization if name in self._shapes]
        root = _sharing(graph, names)
        own = list(dict.fromkeys(root[name] for name in names))
        fixed = {root[name] for name in _fixed(graph)}
        self._values = {name: _Value(own.index(root[name]), bounds(graph.quantization[name].zero_point)) for name in names}
        self._learns = [float(name not in fixed) for name in own]
        self._last_reader = {name: i for i, operator in enumerate(graph.operators) for name in operator.inputs}
        self.register_buffer("scale", torch.tensor([graph.quantization[name].scale for name in own]))
        self.stretch = nn.Parameter(torch.zeros(len(own)))

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs for preprocessed images, as dequantized reals."""
        scales = self._scales()
        values = {INPUT: image}
        outputs = self._like.outputs.values()
        for i, operator in enumerate(self._like.operators):
            weights = self._weights(operator, scales) if isinstance(operator, WEIGHTED) else ()
            made = compute(operator, [values[name] for name in operator.inputs], weights)
            value = self._values.get(operator.output)
            if value is not None and type(operator) not in layout.MOVES:
                made = self._snapped(operator, made, value, scales)
            values[operator.output] = made
            for name in operator.inputs:
                if self._last_reader[name] == i and name not in outputs:
                    values.pop(name, None)  # free values that no operator reads any more
        returned = tuple(values[value] for value in outputs)
        return returned if len(returned) > 1 else returned[0]

    @torch.no_grad()
    def graph(self) -> Graph:
        """The int8 graph with the current weights and scales, and the original manifest."""
        scales = self._scales()
        tensors: dict[str, NDArray[np.generic]] = {}
        quantization = {
            name: Quantization((float(scales.of_values[value.index]),), _zero_point(value.within))
            for name, value in self._values.items()
        }
        for operator, layer in self.layers():
            weight, bias = layer.weight.detach(), layer.bias.detach()
            steps = scales.of_weights.get(operator.name)
            if steps is not None:
                quantization[operator.weight] = Quantization(tuple(steps.tolist()))
                weight = weight_integers(weight, steps)
                bias = bias_integers(bias, scales.of_bias(operator, self._values, steps))
            tensors |= {operator.weight: weight.cpu().numpy().copy(), operator.bias: bias.cpu().numpy().copy()}
        graph = replace(self._like, tensors=tensors, quantization=quantization)
        graph.check()
        return graph

    def layers(self) -> Iterator[tuple[WeightedOperator, Layer]]:
        """The trainable operators with their parameters."""
        for operator in _weighted(self._like):
            yield operator, self._layers[operator.name]

    def freeze(self, blocks: int) -> None:
        """Freeze the layers of the first blocks of the backbone; -1 for the whole backbone."""
        for operator, layer in self.layers():
            whole = blocks == -1 and operator.name.startswith("backbone.")
            if whole or 0 <= operator.block < blocks:
                layer.requires_grad_(requires_grad=False)

    def ranges(self) -> Iterator[nn.Parameter]:
        """The parameters that determine the scales."""
        yield self.stretch
        for layer in self._layers.values():
            if layer.quantized:
                yield layer.stretch

    def _snapped(self, operator: op.Operator, made: Tensor, value: _Value, scales: _Scales) -> Tensor:
        """Round an operator's output to multiples of its scale. Training rounds only once, which is faster."""
        scale = scales.of_values[value.index]
        if self.training:
            return snap(made, scale, value.within)
        if keeps_scale(operator, self._shapes):
            return settled_mean(made, scale, value.within)
        read = [scales.of_values[self._values[name].index] for name in operator.inputs if name in self._values]
        if operator.name in scales.of_weights:
            read.append(scales.of_weights[operator.name])
        bits = bits_kept(operator, read, scale, [self._shapes[name] for name in operator.inputs])
        return settled(made, scale, value.within, bits)

    def _weights(self, operator: WeightedOperator, scales: _Scales) -> Weights:
        layer = self._layers[operator.name]
        steps = scales.of_weights.get(operator.name)
        if steps is None:
            return layer.weight, layer.bias
        bias = snap_bias(layer.bias, scales.of_bias(operator, self._values, steps))
        return snap_channels(layer.weight, steps), bias

    def _scales(self) -> _Scales:
        """All scales, with the lower bounds that biases and runtimes require."""
        learns = torch.tensor(self._learns, device=self.stretch.device)
        learned = (self.get_buffer("scale") * torch.exp2(_PACE * learns * self.stretch)).float()
        least: list[float] = learned.detach().tolist()
        of_weights = {}
        for operator in self._like.operators:
            made = self._values.get(operator.output)
            read = [least[self._values[name].index] for name in operator.inputs if name in self._values]
            if isinstance(operator, WEIGHTED) and made is not None:
                layer = self._layers[operator.name]
                floor = (layer.bias.detach().abs() / (read[0] * 2.0**_BIAS_BITS)).clamp(min=_LEAST_WEIGHT_SCALE)
                of_weights[operator.name] = torch.maximum(layer.scales(), floor)
                read.append(float(of_weights[operator.name].detach().max()))
            if made is not None and self._learns[made.index] and not keeps_scale(operator, self._shapes):
                least[made.index] = max(least[made.index], _least(operator, read))
        of_values = torch.maximum(learned, torch.tensor(least, device=learned.device))
        return _Scales(of_values.unbind(), of_weights)

    def _add_layer(self, operator: WeightedOperator, graph: Graph) -> Layer:
        """Add a layer under the operator's name, which is a path of modules."""
        *path, last = operator.name.split(".")
        place: nn.Module = self
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Module())
            place = place.get_submodule(part)
        layer = Layer(operator, graph)
        if last in dict(place.named_children()):
            for name, child in place.get_submodule(last).named_children():
                layer.add_module(name, child)
        place.add_module(last, layer)
        return layer


@dataclass(frozen=True, slots=True)
class _Scales:
    """The current scales.

    Args:
        of_values: scales of values, by index.
        of_weights: scales of weights, O each, by the name of the operator; float operators are left out.
    """

    of_values: Sequence[Tensor]
    of_weights: Mapping[str, Tensor]

    def of_bias(self, operator: WeightedOperator, values: Mapping[str, _Value], steps: Tensor) -> Tensor:
        """The scales of an operator's bias, O, in 64-bit floats."""
        read = self.of_values[values[operator.inputs[0]].index]
        return read.detach().double() * steps.detach().double()


def _weighted(graph: Graph) -> Iterator[WeightedOperator]:
    return (operator for operator in graph.operators if isinstance(operator, WEIGHTED))


def _zero_point(within: Bounds) -> int:
    return LOWEST - within.low


def _sharing(graph: Graph, names: Sequence[str]) -> dict[str, str]:
    """For each value, the value whose scale it shares, because integers pass through some operators unchanged."""
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while name in above:
            name = above[name]
        return name

    shapes = graph.shapes()
    for operator in graph.operators:
        if operator.output in graph.quantization and keeps_scale(operator, shapes):
            for name in operator.inputs:
                if root(name) != root(operator.output):
                    above[root(operator.output)] = root(name)
    return {name: root(name) for name in names}


def _fixed(graph: Graph) -> Iterator[str]:
    """The values whose scale is fixed by the specification or by the range of an image."""
    for operator in graph.operators:
        from_image = isinstance(operator, op.Quantize) and operator.inputs == (INPUT,)
        share = isinstance(operator, op.Softmax) or getattr(operator, "kind", "") in ("sigmoid", "hard_sigmoid")
        if (from_image or share) and operator.output in graph.quantization:
            yield operator.output


def _least(operator: op.Operator, read: Sequence[float]) -> float:
    """The smallest output scale of an operator that runtimes accept, given the scales of its inputs and weights."""
    if isinstance(operator, op.Multiply | op.MatMul | op.Conv | op.Depthwise | op.Dense):
        return max(math.prod(read) / _MOST_RATIO, LEAST_SCALE)
    return max(max(read, default=0.0) / _MOST_RATIO, LEAST_SCALE)

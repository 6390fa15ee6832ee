"""`Int8Network`: a graph in 8-bit integers as a torch module whose weights, biases and scales learn.

The graph says where quantizers stand, so that what learns is what is exported, operator by operator. Each weight is kept as a
real and snapped to the steps of its channel; what an operator makes is snapped to the steps of its value. In evaluation mode
this gives the integers of `deploy/reference_int8.py`, but for sums that 32-bit floats cannot hold exactly.
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

_PACE = 8.0  # a scale's logarithm moves so much faster than a weight under one learning rate
_BIAS_BITS = 30  # a bias stays below 2**30 of its steps, so that it and the sums fit 32 bits
_MOST_RATIO = 2.0**7  # of the scale read to the scale made; runtimes refuse a file with 2**8
_LEAST_WEIGHT_SCALE = 2.0**-40


class Layer(nn.Module):
    """What an operator learns. Layers stand under the names that their modules have in the float network.

    Args:
        operator: which is computed.
        graph: of the operator; its weights are kept as the reals that their integers stand for.
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
        """The scales of the weight, O, before their floor."""
        return (self.get_buffer("scale") * torch.exp2(_PACE * self.stretch)).float()


@dataclass(frozen=True, slots=True)
class _Value:
    """How a value is snapped.

    Args:
        index: of its scale; values whose integers pass through operators unchanged share one.
        within: its bounds, in steps.
    """

    index: int
    within: Bounds


class Int8Network(nn.Module):
    """Takes prepared images, N C H W, and returns what the graph returns: a tensor, or a tuple where there are several outputs.

    Args:
        graph: in 8-bit integers with float ends. Until something is learned, the network computes the same integers.
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
        """The outputs for prepared images, as the reals that the integers stand for."""
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
                    values.pop(name, None)  # what nobody reads any more need not be kept
        returned = tuple(values[value] for value in outputs)
        return returned if len(returned) > 1 else returned[0]

    @torch.no_grad()
    def graph(self) -> Graph:
        """The integers that the network computes with, under the manifest that it was built with."""
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
        """The operators that learn, with what they learn."""
        for operator in _weighted(self._like):
            yield operator, self._layers[operator.name]

    def freeze(self, blocks: int) -> None:
        """Take the layers of the first blocks of the backbone out of what learns; -1 for the whole backbone."""
        for operator, layer in self.layers():
            whole = blocks == -1 and operator.name.startswith("backbone.")
            if whole or 0 <= operator.block < blocks:
                layer.requires_grad_(requires_grad=False)

    def ranges(self) -> Iterator[nn.Parameter]:
        """The parameters that scales depend on."""
        yield self.stretch
        for layer in self._layers.values():
            if layer.quantized:
                yield layer.stretch

    def _snapped(self, operator: op.Operator, made: Tensor, value: _Value, scales: _Scales) -> Tensor:
        """What an operator made, as the integers stand for it. Training rounds once, which is faster."""
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
        """All scales, none below what its bias or the runtimes need."""
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
        """A new layer under the operator's name, which is a path of modules."""
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
    """The scales of a moment.

    Args:
        of_values: by the index of a value.
        of_weights: O each, by the operator's name; without those of operators in floats.
    """

    of_values: Sequence[Tensor]
    of_weights: Mapping[str, Tensor]

    def of_bias(self, operator: WeightedOperator, values: Mapping[str, _Value], steps: Tensor) -> Tensor:
        """The scales of an operator's bias, O, in 64 bits."""
        read = self.of_values[values[operator.inputs[0]].index]
        return read.detach().double() * steps.detach().double()


def _weighted(graph: Graph) -> Iterator[WeightedOperator]:
    return (operator for operator in graph.operators if isinstance(operator, WEIGHTED))


def _zero_point(within: Bounds) -> int:
    return LOWEST - within.low


def _sharing(graph: Graph, names: Sequence[str]) -> dict[str, str]:
    """For each value the one whose scale it shares: integers pass through some operators unchanged."""
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
    """The values whose scale the specification fixes, or the range of an image."""
    for operator in graph.operators:
        from_image = isinstance(operator, op.Quantize) and operator.inputs == (INPUT,)
        share = isinstance(operator, op.Softmax) or getattr(operator, "kind", "") in ("sigmoid", "hard_sigmoid")
        if (from_image or share) and operator.output in graph.quantization:
            yield operator.output


def _least(operator: op.Operator, read: Sequence[float]) -> float:
    """The least scale that runtimes take for what an operator makes, by the scales of what it reads and of its weights."""
    if isinstance(operator, op.Multiply | op.MatMul | op.Conv | op.Depthwise | op.Dense):
        return max(math.prod(read) / _MOST_RATIO, LEAST_SCALE)
    return max(max(read, default=0.0) / _MOST_RATIO, LEAST_SCALE)

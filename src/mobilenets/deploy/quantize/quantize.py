"""`quantize` turns a float graph and a few calibration images into an int8 graph whose input and outputs are still floats.

It passes through the network once, from the input to the outputs. Each operator reads the activations of the part of the
network that is already quantized, and is fitted to reproduce the activations of the float network: first its weights and bias,
then the quantization range of its output. So errors do not accumulate, and the mean of every channel is corrected for the
quantization of all earlier layers (sequential bias correction). The noise of an image is weighted relative to the power of the
layer's output for that image, so that a few images with large activations do not dominate the fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import keeps_scale
from mobilenets.deploy.integers import dequantize, quantize_bias
from mobilenets.deploy.quantization import SHARE, Quantization, bias_scales
from mobilenets.deploy.quantize.equalize import equalized
from mobilenets.deploy.quantize.gather import image_shares, moments
from mobilenets.deploy.quantize.groups import Groups
from mobilenets.deploy.quantize.prepare import WEIGHTED, before_gates, prepared, useful
from mobilenets.deploy.quantize.ranges import LEAST_SCALE, SAMPLES, Choice, affine, chosen, sampled, ways_for
from mobilenets.deploy.quantize.values import Value, computed
from mobilenets.deploy.quantize.weights import EIGHT_BITS, Grid, quantized

Numbers = NDArray[np.float32]
_MOST_RATIO = 2.0**7  # input scale / output scale; runtimes refuse a file where this ratio is 2**8
_JOINED_ON = 16  # images
_ROOM = 1.1  # widens the range of the outputs: the largest logit decides, and other images may have a larger one


@dataclass(frozen=True, slots=True)
class Noise:
    """The quantization noise of one value.

    Args:
        operator: name of the operator that produces the value.
        value: name of the value.
        choice: the chosen range; None if the int8 specification or the operator's input determines it.
        decibels: signal-to-quantization-noise ratio over all images, in dB: 10 log10 of the sum of the float network's squared
            activations over the sum of the squared differences.
    """

    operator: str
    value: str
    choice: Choice | None
    decibels: float


@dataclass(frozen=True)
class Result:
    """A quantized network, with its noise and the float network to compare it with.

    Args:
        graph: the int8 graph; it has passed `Graph.check`.
        noise: the noise of each value, in the order of the network.
        prepared: the float graph that was quantized, with the same operators and names, after preparation and equalization.
    """

    graph: Graph
    noise: tuple[Noise, ...]
    prepared: Graph


def quantize(
    graph: Graph,
    images: Numbers,
    *,
    keep: frozenset[str] = frozenset(),
    weights: Grid = EIGHT_BITS,
    advance: Callable[[int], object] = lambda _: None,
) -> Result:
    """The int8 version of a network, with a float input and float outputs.

    Args:
        graph: the float network.
        images: preprocessed calibration images, N C H W; a few hundred that resemble what the network will see in use.
        keep: names of the operators to keep in floats.
        weights: the integers that weights may take; depthwise layers and layers that read the image always use 8 bits.
        advance: called with 1 after each operator.

    Raises:
        GraphError: the graph is quantized already, or is not a valid graph.
    """
    work = _Work(equalized(prepared(graph), images), images, keep, weights)
    for operator in work.graph.operators:
        work.take(operator)
        advance(1)
    return work.result()


@dataclass
class _Work:
    graph: Graph
    images: Numbers
    keep: frozenset[str]
    grid: Grid
    values: dict[str, Value] = field(default_factory=dict)
    quantization: dict[str, Quantization] = field(default_factory=dict)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)  # Any: floats and integers
    operators: list[op.Operator] = field(default_factory=list)
    noise: list[Noise] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = self.graph.shapes()
        self.useful = useful(self.graph)
        self.before_gates = before_gates(self.graph)
        self.readers = Counter(self.graph.readers())
        self.values[INPUT] = Value(self.images, self.images)
        self.joined = _joined(self.graph, self.images)
        self.final = _final(self.graph)
        self.converted: dict[tuple[str, bool], str] = {}

    def result(self) -> Result:
        outputs = {}
        for name, value in self.graph.outputs.items():
            outputs[name] = self._as(value, integers=False)
        manifest = replace(self.graph.manifest, precision="int8")
        graph = replace(
            self.graph,
            manifest=manifest,
            operators=tuple(self.operators),
            tensors=self.tensors,
            outputs=outputs,
            quantization=self.quantization,
        )
        graph.check()
        return Result(graph, tuple(self.noise), self.graph)

    def take(self, operator: op.Operator) -> None:
        """Quantize the next operator."""
        integers = (
            operator.name not in self.keep and not isinstance(operator, op.ArgMax) and getattr(operator, "factor", 1) == 1
        )
        reads = tuple(self._as(name, integers=integers, block=operator.block) for name in operator.inputs)
        values = [self.values[name] for name in reads]
        meant = self._run(operator, values, self.graph.tensors, Value.meant_on)
        if integers and isinstance(operator, WEIGHTED):
            weights = self._fitted(operator, values[0], self.quantization[reads[0]], image_shares(meant))
        else:
            weights = {name: self.graph.tensors[name] for name in _weight_names(operator)}
            self.tensors.update(weights)
        made = self._run(operator, values, weights, Value.made_on)
        result, choice = Value(meant, made), None
        if integers:
            choice = self._choice(operator, result)
            self.quantization[operator.output] = self._scale(operator, reads, choice)
            result = result.quantized(self.quantization[operator.output])
        self.operators.append(replace(operator, inputs=reads))  # type: ignore[type-var]  # every operator is a record
        self.values[operator.output] = result
        self.noise.append(Noise(operator.name, operator.output, choice, result.decibels()))
        for name in operator.inputs:
            self.readers[name] -= 1
            if not self.readers[name]:
                for copy in (name, *(self.converted.get((name, kind), name) for kind in (True, False))):
                    self.values.pop(copy, None)

    def _as(self, value: str, *, integers: bool, block: int = -1) -> str:
        """The name of the integer or float version of a value; adds an operator that converts it if there is none yet."""
        if (value in self.quantization) == integers:
            return value
        if (value, integers) not in self.converted:
            name = f"{value}/{'int8' if integers else 'float'}"
            kind = op.Quantize if integers else op.Dequantize
            self.operators.append(kind(name=name, inputs=(value,), output=name, block=block))
            self.converted[value, integers] = name
            self.values[name] = self.values[value]
            if integers:
                meant = self.values[value].meant
                low, high = self.joined.get(value, (float(meant.min()), float(meant.max())))
                self.quantization[name] = affine(low, high)
                self.values[name] = self.values[value].quantized(self.quantization[name])
        return self.converted[value, integers]

    def _fitted(
        self,
        operator: Any,  # Any: one with weights
        value: Value,
        read: Quantization,
        shares: NDArray[np.float64],
    ) -> dict[str, NDArray[Any]]:
        """Quantize the weights and bias of an operator into `tensors`; returns them dequantized."""
        weight, bias = (self.graph.tensors[name].astype(np.float32) for name in (operator.weight, operator.bias))
        fine = isinstance(operator, op.Depthwise) or operator.inputs[0] == INPUT
        grid = EIGHT_BITS if fine else self.grid
        result = quantized(weight, bias, moments(operator, weight.shape, value, shares), read=read, grid=grid)
        scales = bias_scales(read, result.quantization)
        steps = quantize_bias(result.bias, scales)
        self.tensors[operator.weight], self.tensors[operator.bias] = result.integers, steps
        self.quantization[operator.weight] = result.quantization
        reals = dequantize(result.integers, result.quantization)
        return {operator.weight: reals, operator.bias: (steps * scales).astype(np.float32)}

    def _run(
        self,
        operator: op.Operator,
        values: Sequence[Value],
        tensors: Mapping[str, Any],
        read: Callable[[Value, slice], Numbers],
    ) -> NDArray[Any]:  # Any: floats of 16 or 32 bits
        """The output of an operator on all images."""

        def made(some: slice) -> Numbers:
            return reference.compute(operator, [read(value, some) for value in values], tensors)

        return computed(made, len(self.images), max(prod(self.shapes[name]) for name in (*operator.inputs, operator.output)))

    def _choice(self, operator: op.Operator, value: Value) -> Choice | None:
        if _fixed(operator) is not None or keeps_scale(operator, self.shapes):
            return None
        if operator.output in self.joined:
            return Choice(*self.joined[operator.output], "min-max", float("nan"))
        if operator.output in self.final:
            low, high = (_ROOM * float(end) for end in (value.made.min(), value.made.max()))
            return Choice(low, high, "min-max", float("nan"))
        gate = self.before_gates.get(operator.output)
        if gate is not None:
            return self._before_gate(gate, value)
        low, high = self.useful.get(operator.output, (-np.inf, np.inf))
        made, meant = (np.clip(sampled(numbers), low, high) for numbers in (value.made, value.meant))
        return chosen(made, meant, ways_for(value.made.size))

    def _before_gate(self, gate: op.Conv, value: Value) -> Choice:
        """The range of the input, N C, of a gate's convolution, chosen by the error of the gate.

        The hard sigmoid is constant beyond its knees, so errors there do not count.
        """
        weight, bias = (self.graph.tensors[name].astype(np.float32) for name in (gate.weight, gate.bias))
        low, high = self.useful[gate.output]
        rows = weight.reshape(len(weight), -1)
        some = slice(SAMPLES // rows.shape[1])
        made, meant = (numbers[some].reshape(-1, rows.shape[1]).astype(np.float32) for numbers in (value.made, value.meant))
        return chosen(made, meant, ways_for(value.made.size), seen=lambda numbers: np.clip(numbers @ rows.T + bias, low, high))

    def _scale(self, operator: op.Operator, reads: Sequence[str], choice: Choice | None) -> Quantization:
        fixed = _fixed(operator)
        if fixed is not None:
            return fixed
        if choice is None:
            return self.quantization[reads[0]]
        scales = [self.quantization[name].scale for name in reads]
        least = max(scales) / _MOST_RATIO if isinstance(operator, op.Add | op.Pool | op.Activation) else LEAST_SCALE
        if isinstance(operator, op.Multiply | op.MatMul):
            least = scales[0] * scales[1] / _MOST_RATIO
        if isinstance(operator, WEIGHTED):
            least = scales[0] * max(self.quantization[operator.weight].scales) / _MOST_RATIO
        return choice.quantization(least=max(least, LEAST_SCALE))


def _fixed(operator: op.Operator) -> Quantization | None:
    """The quantization of an operator's output where the int8 specification sets it, or where a fixed one is exact."""
    if isinstance(operator, op.Softmax):
        return SHARE
    if isinstance(operator, op.Activation):
        return {"sigmoid": SHARE, "hard_sigmoid": affine(0, 1)}.get(operator.kind)
    return None


def _weight_names(operator: op.Operator) -> tuple[str, ...]:
    return (operator.weight, operator.bias) if isinstance(operator, WEIGHTED) else ()


def _final(graph: Graph) -> frozenset[str]:
    """The outputs of the graph, and the values that only reshaping, resizing or argmax separates from them."""
    shapes, final = graph.shapes(), set(graph.outputs.values())
    for operator in reversed(graph.operators):
        if operator.output in final and (keeps_scale(operator, shapes) or isinstance(operator, op.ArgMax)):
            final.update(operator.inputs)
    return frozenset(final)


def _joined(graph: Graph, images: Numbers) -> dict[str, tuple[float, float]]:
    """The common range of values that are concatenated with each other, by name of the value: they must share one scale."""
    together = Groups()
    shapes = graph.shapes()
    concats = [operator for operator in graph.operators if isinstance(operator, op.Concat)]
    if not concats:
        return {}
    for operator in graph.operators:
        if keeps_scale(operator, shapes):
            for name in operator.inputs:
                together.join(name, operator.output)
    groups = {together.of(operator.output) for operator in concats}
    ranges: dict[str, tuple[float, float]] = {}
    for image in images[:_JOINED_ON]:
        for name, numbers in reference.run_all(graph, image[np.newaxis]).items():
            group = together.of(name)
            if group in groups:
                low, high = ranges.get(group, (0.0, 0.0))
                ranges[group] = min(low, float(numbers.min())), max(high, float(numbers.max()))
    return {name: ranges[together.of(name)] for name in shapes if together.of(name) in groups}

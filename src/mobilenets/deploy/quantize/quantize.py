"""`quantize`: a float graph and a few images in, a graph of 8-bit integers with float ends out.

The network is gone through once, from the input on. Each operator reads what the quantized network so far makes of the images,
and is fitted to what the float network makes of them: first weights and bias, then the range of what it makes. So errors do not
add up, and the mean of every channel is corrected against everything before it (sequential bias correction). Noise counts by
its share of what a layer makes of an image, so that a few images with large values do not decide for all others.
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
_MOST_RATIO = 2.0**7  # of the scale read to the scale made; runtimes refuse a file with 2**8
_JOINED_ON = 16  # images
_ROOM = 1.1  # of the range of outputs: the largest logit decides, and other images may have a larger one


@dataclass(frozen=True, slots=True)
class Noise:
    """What quantization did to one value.

    Args:
        operator: that makes it.
        value: its name.
        choice: its range; None where the specification or what is read fixes it.
        decibels: signal to quantization noise, over all images: 10 log10 of the float network's squares over those of the
            difference.
    """

    operator: str
    value: str
    choice: Choice | None
    decibels: float


@dataclass(frozen=True)
class Result:
    """A quantized network, and how it came to be.

    Args:
        graph: checked.
        noise: of each value, in the order of the network.
        prepared: the float network operator by operator as it was quantized, with the same names.
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
    """The network in 8-bit integers, with a float input and float outputs.

    Args:
        graph: in floats.
        images: for calibration, prepared, N C H W; some hundred of the kind that the network will see.
        keep: names of operators that stay in floats.
        weights: what integers the weights may be; depthwise layers and those that read the image always have 8 bits.
        advance: called with 1 after each operator.

    Raises:
        GraphError: the graph is quantized already, or none.
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
        """Go on by one operator."""
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
        """The name of a value as integers or as floats; an operator that converts it is added where there is none yet."""
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
        """The weights of an operator as integers, kept in `tensors`; returns the reals that they stand for."""
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
        """What an operator makes of what it reads on all images."""

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
        """The range of the numbers, N C, that make up a gate, by the error behind it: beyond its knees nothing counts."""
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
    """What the specification says of a value, or what is exact for it."""
    if isinstance(operator, op.Softmax):
        return SHARE
    if isinstance(operator, op.Activation):
        return {"sigmoid": SHARE, "hard_sigmoid": affine(0, 1)}.get(operator.kind)
    return None


def _weight_names(operator: op.Operator) -> tuple[str, ...]:
    return (operator.weight, operator.bias) if isinstance(operator, WEIGHTED) else ()


def _final(graph: Graph) -> frozenset[str]:
    """The values that are read out, as they are or moved or resized."""
    shapes, final = graph.shapes(), set(graph.outputs.values())
    for operator in reversed(graph.operators):
        if operator.output in final and (keeps_scale(operator, shapes) or isinstance(operator, op.ArgMax)):
            final.update(operator.inputs)
    return frozenset(final)


def _joined(graph: Graph, images: Numbers) -> dict[str, tuple[float, float]]:
    """The range of all values that are joined with each other, for each of them: they must share one scale."""
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

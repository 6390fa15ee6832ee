"""`quantize`: a float graph and a few images in, a graph of 8-bit integers with float ends out.

The network is gone through once, from the input on. Each operator reads what the quantized network so far makes of the images,
and is fitted to what the float network makes of them: first weights and bias, then the range of what it makes. So errors do not
add up, and the mean of every channel is corrected against everything before it (sequential bias correction).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import layout, reference
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.int8_rules import keeps_scale
from mobilenets.deploy.integers import dequantize, quantize_bias
from mobilenets.deploy.quantization import SHARE, Quantization, bias_scales
from mobilenets.deploy.quantize.prepare import WEIGHTED, prepared, useful
from mobilenets.deploy.quantize.ranges import LEAST_SCALE, Choice, affine, chosen, snapped
from mobilenets.deploy.quantize.weights import Moments, quantized

Numbers = NDArray[np.float32]
IMAGES_AT_ONCE = 16
_PLACES = 1 << 16  # that moments are taken of, at most, for each operator
_SAMPLES = 1 << 16  # numbers that a range is chosen by
_MOST_RATIO = 2.0**7  # of the scale read to the scale made; runtimes refuse a file with 2**8
_STORED = f"{INPUT}/int8"


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
    graph: Graph, images: Numbers, *, keep: frozenset[str] = frozenset(), advance: Callable[[int], object] = lambda _: None
) -> Result:
    """The network in 8-bit integers, with a float input and float outputs.

    Args:
        graph: in floats.
        images: for calibration, prepared, N C H W; some hundred of the kind that the network will see.
        keep: names of operators that stay in floats.
        advance: called with 1 after each operator.

    Raises:
        GraphError: the graph is quantized already, or none.
    """
    work = _Work(prepared(graph), images, keep)
    for operator in work.graph.operators:
        work.take(operator)
        advance(1)
    return work.result()


@dataclass
class _Value:
    """A value on all images: what the float network makes, and what the quantized one does, as the reals it stands for."""

    meant: Numbers
    made: Numbers


@dataclass
class _Work:
    graph: Graph
    images: Numbers
    keep: frozenset[str]
    values: dict[str, _Value] = field(default_factory=dict)
    quantization: dict[str, Quantization] = field(default_factory=dict)
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)  # Any: floats and integers
    operators: list[op.Operator] = field(default_factory=list)
    noise: list[Noise] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = self.graph.shapes()
        self.useful = useful(self.graph)
        self.readers = Counter(self.graph.readers())
        self.values[INPUT] = _Value(self.images, self.images)
        self.joined = _joined(self.graph, self.images)
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
        values = [self.values[name] for name in operator.inputs]
        if integers and isinstance(operator, WEIGHTED):
            weights = self._fitted(operator, values[0], self.quantization[reads[0]])
        else:
            weights = {name: self.graph.tensors[name] for name in _weight_names(operator)}
            self.tensors.update(weights)
        meant = self._run(operator, [value.meant for value in values], self.graph.tensors)
        made = self._run(operator, [value.made for value in values], weights)
        choice = None
        if integers:
            choice = self._choice(operator, reads, made, meant)
            self.quantization[operator.output] = self._scale(operator, reads, choice)
            made = snapped(made, self.quantization[operator.output])
        self.operators.append(replace(operator, inputs=reads))  # type: ignore[type-var]  # every operator is a record
        self.values[operator.output] = _Value(meant, made)
        self.noise.append(Noise(operator.name, operator.output, choice, decibels(meant, made)))
        for name in operator.inputs:
            self.readers[name] -= 1
            if not self.readers[name]:
                del self.values[name]

    def _as(self, value: str, *, integers: bool, block: int = -1) -> str:
        """The name of a value as integers or as floats; an operator that converts it is added where there is none yet."""
        if (value in self.quantization) == integers:
            return value
        if (value, integers) not in self.converted:
            name = f"{value}/{'int8' if integers else 'float'}"
            kind = op.Quantize if integers else op.Dequantize
            self.operators.append(kind(name=name, inputs=(value,), output=name, block=block))
            self.converted[value, integers] = name
            if integers:
                numbers = self.values[value]
                low, high = float(numbers.meant.min()), float(numbers.meant.max())
                self.quantization[name] = affine(low, high)
                numbers.made = snapped(numbers.made, self.quantization[name])
        return self.converted[value, integers]

    def _fitted(self, operator: Any, value: _Value, read: Quantization) -> dict[str, NDArray[Any]]:  # Any: one with weights
        """The weights of an operator as integers, kept in `tensors`; returns the reals that they stand for."""
        weight, bias = (self.graph.tensors[name].astype(np.float32) for name in (operator.weight, operator.bias))
        rows = weight.reshape(len(weight), -1)
        moments = _moments(operator, weight.shape, value)
        result = quantized(rows, bias, moments, read=read)
        integers = result.integers.reshape(weight.shape)
        scales = bias_scales(read, result.quantization)
        steps = quantize_bias(result.bias, scales)
        self.tensors[operator.weight], self.tensors[operator.bias] = integers, steps
        self.quantization[operator.weight] = result.quantization
        return {operator.weight: dequantize(integers, result.quantization), operator.bias: (steps * scales).astype(np.float32)}

    def _run(self, operator: op.Operator, inputs: Sequence[Numbers], tensors: Mapping[str, Any]) -> Numbers:
        parts = [
            reference.compute(operator, [x[i : i + IMAGES_AT_ONCE] for x in inputs], tensors)
            for i in range(0, len(inputs[0]), IMAGES_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _choice(self, operator: op.Operator, reads: Sequence[str], made: Numbers, meant: Numbers) -> Choice | None:
        if _fixed(operator) is not None or keeps_scale(operator, self.shapes):
            return None
        if operator.output in self.joined:
            return Choice(*self.joined[operator.output], "min-max", float("nan"))
        some = _some(made.size)
        low, high = self.useful.get(operator.output, (-np.inf, np.inf))
        return chosen(np.clip(made.reshape(-1)[some], low, high), np.clip(meant.reshape(-1)[some], low, high))

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


def decibels(meant: NDArray[Any], made: NDArray[Any]) -> float:  # Any: floats
    """Signal to noise: infinite where both are equal.

    >>> round(decibels(np.ones(4), np.array([1.1, 0.9, 1.1, 0.9])), 6)
    20.0
    """
    signal, noise = (float(np.square(x, dtype=np.float64).sum()) for x in (meant, meant - made))
    return float("inf") if noise == 0 else float("-inf") if signal == 0 else 10 * float(np.log10(signal / noise))


def _fixed(operator: op.Operator) -> Quantization | None:
    """What the specification says of a value, or what is exact for it."""
    if isinstance(operator, op.Softmax):
        return SHARE
    if isinstance(operator, op.Activation):
        return {"sigmoid": SHARE, "hard_sigmoid": affine(0, 1)}.get(operator.kind)
    return None


def _weight_names(operator: op.Operator) -> tuple[str, ...]:
    return (operator.weight, operator.bias) if isinstance(operator, WEIGHTED) else ()


def _moments(operator: op.Operator, shape: tuple[int, ...], value: _Value) -> Moments:
    """Of what a weighted operator reads, in places drawn from all images."""
    groups = shape[0] if isinstance(operator, op.Depthwise) else 1
    length = int(np.prod(shape[1:]))
    moments = Moments(groups, length)
    each = max(1, _PLACES // (len(value.made) * (16 if isinstance(operator, op.Depthwise) else 1)))
    for i in range(len(value.made)):  # one at a time: windows of a map are many times as large as the map
        read, meant = (_seen(operator, shape, x[i : i + 1]) for x in (value.made, value.meant))
        places = read.shape[-1]
        some = np.random.default_rng(i).permutation(places)[:each] if places > each else slice(None)
        moments.add(*(_together(x[..., some]) for x in (read, meant)))
    return moments


def _seen(operator: Any, shape: tuple[int, ...], x: Numbers) -> Numbers:  # Any: one with weights
    """What each output is the weighted sum of: N G K places."""
    if isinstance(operator, op.Dense):
        return x[:, None, :, None]
    if isinstance(operator, op.Conv):
        return layout.columns(x, shape[2:], operator)[0][:, None]
    seen = layout.windows(layout.padded(x, operator.padding), shape[2:], operator.stride, operator.dilation)
    return seen.reshape(len(x), shape[0], shape[2] * shape[3], -1)


def _together(seen: Numbers) -> Numbers:
    """N G K places as G K n."""
    return np.ascontiguousarray(seen.transpose(1, 2, 0, 3)).reshape(*seen.shape[1:3], -1)


def _some(size: int) -> NDArray[np.int64]:
    """Places of numbers in an order without a pattern: what is next to each other in a row belongs to different channels."""
    random = np.random.default_rng(size)
    return random.integers(0, size, _SAMPLES) if size > _SAMPLES else random.permutation(size)


def _joined(graph: Graph, images: Numbers) -> dict[str, tuple[float, float]]:
    """The range of all values that are joined with each other, for each of them: they must share one scale."""
    together: dict[str, str] = {}

    def root(name: str) -> str:
        while name in together:
            name = together[name]
        return name

    shapes = graph.shapes()
    concats = [operator for operator in graph.operators if isinstance(operator, op.Concat)]
    if not concats:
        return {}
    for operator in graph.operators:
        if keeps_scale(operator, shapes):
            for name in operator.inputs:
                if root(name) != root(operator.output):
                    together[root(name)] = root(operator.output)
    groups = {root(operator.output) for operator in concats}
    ranges: dict[str, tuple[float, float]] = {}
    for i in range(0, min(len(images), 2 * IMAGES_AT_ONCE), IMAGES_AT_ONCE):
        for name, numbers in reference.run_all(graph, images[i : i + IMAGES_AT_ONCE]).items():
            group = root(name)
            if group in groups:
                low, high = ranges.get(group, (0.0, 0.0))
                ranges[group] = min(low, float(numbers.min())), max(high, float(numbers.max()))
    return {name: ranges[root(name)] for name in itertools.chain(shapes) if root(name) in groups}

"""`prepared` rewrites a float graph so that each of its operators can be quantized under the int8 rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.int8_rules import FUSED

WEIGHTED = op.Weighted
"""The operators with weights."""

_MOVES = (op.Flatten, op.Rows, op.Places)
_KNEE = 3.0  # hard swish and hard sigmoid have knees at -3 and 3


def prepared(graph: Graph) -> Graph:
    """An equivalent graph with only the activations and factors that int8 operators support.

    - Hard swish becomes x times hard sigmoid of x: runtimes have fast int8 kernels for both, and many have no int8 hard swish.
    - Other activations that cannot be fused into an int8 operator become operators of their own.
    - The factor of a matrix product, as in attention, is folded into the weights of the layer that produces its first matrix.
    """
    operators = split(graph)
    tensors = dict(graph.tensors)
    for i, operator in enumerate(operators):
        if isinstance(operator, op.MatMul) and operator.factor != 1:
            maker = _maker(operators[:i], operator.inputs[0], graph.readers())
            if maker is not None:
                for name in (maker.weight, maker.bias):
                    tensors[name] = tensors[name].astype(np.float32) * np.float32(operator.factor)
                operators = (*operators[:i], replace(operator, factor=1.0), *operators[i + 1 :])
    result = replace(graph, operators=operators, tensors=tensors)
    result.check()
    return result


def split(graph: Graph) -> tuple[op.Operator, ...]:
    """The operators of a float graph, with the activations that int8 operators cannot fuse split off."""
    return tuple(step for operator in graph.operators for step in _split(operator))


def useful(graph: Graph) -> Mapping[str, tuple[float, float]]:
    """The range outside of which clipping changes nothing, for each value that only hard swish or hard sigmoid reads.

    Hard sigmoid is constant below -3 and above 3. Hard swish is 0 below -3, so values below can be clipped to -3.

    Args:
        graph: a prepared graph.
    """
    readers: dict[str, list[op.Operator]] = {}
    for operator in graph.operators:
        for name in operator.inputs:
            readers.setdefault(name, []).append(operator)
    ranges = {}
    for name, reading in readers.items():
        gates = {one.output for one in reading if isinstance(one, op.Activation) and one.kind == "hard_sigmoid"}
        rest = [one for one in reading if one.output not in gates]
        if name in graph.outputs.values() or not gates:
            continue
        if not rest:
            ranges[name] = (-_KNEE, _KNEE)
        elif all(isinstance(one, op.Multiply) and gates & set(one.inputs) for one in rest):
            ranges[name] = (-_KNEE, float("inf"))
    return ranges


def before_gates(graph: Graph) -> Mapping[str, op.Conv]:
    """The convolutions that compute a gate, by the name of their input.

    Such a convolution is the only reader of a 1 x 1 feature map, and only a hard sigmoid reads its output: the second
    convolution of squeeze-and-excite.

    Args:
        graph: a prepared graph.
    """
    shapes, reading, ranges = graph.shapes(), graph.readers(), useful(graph)
    return {
        operator.inputs[0]: operator
        for operator in graph.operators
        if isinstance(operator, op.Conv)
        and reading[operator.inputs[0]] == 1
        and shapes[operator.inputs[0]][1:] == (1, 1)
        and ranges.get(operator.output) == (-_KNEE, _KNEE)
    }


def _split(operator: op.Operator) -> Iterator[op.Operator]:
    """The operator, followed by the activation that it cannot fuse in int8."""
    kind: op.ActivationKind = getattr(operator, "activation", "linear")
    if isinstance(operator, op.Activation) and operator.kind == "hard_swish":
        yield from _swish(operator.name, operator.inputs[0], operator.output, operator.block)
    elif kind in FUSED:
        yield operator
    else:
        before = f"{operator.output}/linear"
        yield replace(operator, activation="linear", output=before)  # type: ignore[type-var]  # it has both
        if kind == "hard_swish":
            yield from _swish(f"{operator.name}/swish", before, operator.output, operator.block)
        else:
            name = f"{operator.name}/{kind}"
            yield op.Activation(name=name, inputs=(before,), output=operator.output, kind=kind, block=operator.block)  # type: ignore[arg-type]  # it is not linear


def _swish(name: str, read: str, made: str, block: int) -> Iterator[op.Operator]:
    gate = f"{made}/gate"
    yield op.Activation(name=f"{name}/gate", inputs=(read,), output=gate, kind="hard_sigmoid", block=block)
    yield op.Multiply(name=name, inputs=(read, gate), output=made, block=block)


def _maker(before: tuple[op.Operator, ...], value: str, readers: Mapping[str, int]) -> op.Weighted | None:
    """The layer without activation that produces a value, possibly reshaped in between; None if others read it too."""
    for operator in reversed(before):
        if operator.output != value or readers[value] != 1:
            continue
        if isinstance(operator, _MOVES):
            value = operator.inputs[0]
        elif isinstance(operator, WEIGHTED) and operator.activation == "linear":
            return operator
        else:
            return None
    return None

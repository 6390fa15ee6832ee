"""Int8 hard sigmoid and hard swish in forms that runtimes compute fast, without changing any integer.

Hard sigmoid is relu6(x + 3) / 6. A file can do without the division: with six times the scale, the same integers represent six
times as much, and the scale of the next multiplication absorbs the factor 1/6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.int8_rules import keeps_scale
from mobilenets.deploy.quantization import Quantization

SIX = 6.0


def undivided(graph: Graph) -> tuple[Graph, frozenset[str]]:
    """The graph with scales that save hard sigmoids the division by 6, and the names of the values concerned.

    The scales of these values, and of the products that read them, are multiplied by 6; the scales of the weights that follow
    are divided by 6. No integer changes. A hard sigmoid whose reader cannot absorb the factor is left as it is.

    Args:
        graph: a quantized, float or mixed graph.
    """
    readers: dict[str, list[op.Operator]] = {}
    for operator in graph.operators:
        for name in operator.inputs:
            readers.setdefault(name, []).append(operator)
    weights = Counter(operator.weight for operator in graph.operators if isinstance(operator, op.Weighted))
    shapes, outputs = graph.shapes(), set(graph.outputs.values())

    @cache
    def takes_a_factor(value: str) -> bool:
        return value in graph.quantization and value not in outputs and all(map(takes_in, readers.get(value, ())))

    def takes_in(reader: op.Operator) -> bool:
        if isinstance(reader, op.Weighted):
            return weights[reader.weight] == 1
        passes = isinstance(reader, op.Multiply | op.Pool) or (len(reader.inputs) == 1 and keeps_scale(reader, shapes))
        return passes and takes_a_factor(reader.output)

    gates = frozenset(
        operator.output
        for operator in graph.operators
        if isinstance(operator, op.Activation) and operator.kind == "hard_sigmoid" and takes_a_factor(operator.output)
    )
    return replace(graph, quantization=_scaled(graph, gates)), gates


def fused(graph: Graph) -> Graph:
    """The graph with each hard swish that is written as x times hard sigmoid of x fused into the operator that produces x.

    Intermediate values are then no longer rounded to 8 bits. The int8 rules do not allow this form: it is for runtimes that
    compute an activation in floats before they round.

    Args:
        graph: a quantized, float or mixed graph.
    """
    counts, makers = graph.readers(), {operator.output: operator for operator in graph.operators}
    made: dict[str, str] = {}  # the input of a hard swish: its output
    gone: set[str] = set()
    for operator in graph.operators:
        if not isinstance(operator, op.Multiply):
            continue
        for x, gate in (operator.inputs, operator.inputs[::-1]):
            hard = makers.get(gate)
            if not isinstance(hard, op.Activation) or hard.kind != "hard_sigmoid" or hard.inputs != (x,):
                continue
            maker = makers.get(x)
            linear = isinstance(maker, op.Weighted | op.Add) and maker.activation == "linear"
            if linear and (counts[x], counts[gate]) == (2, 1):
                made[x] = operator.output
                gone |= {x, gate}
                break
    operators: list[op.Operator] = []
    for operator in graph.operators:
        if operator.output in made:
            swish = {"output": made[operator.output], "activation": "hard_swish"}
            operators.append(replace(operator, **swish))  # type: ignore[type-var]  # an operator with an activation
        elif operator.output not in gone and operator.output not in made.values():
            operators.append(operator)
    quantization = {name: value for name, value in graph.quantization.items() if name not in gone}
    return replace(graph, operators=tuple(operators), quantization=quantization)


def _scaled(graph: Graph, gates: frozenset[str]) -> Mapping[str, Quantization]:
    """The quantizations after the scales of `gates` are multiplied by 6."""
    factors: dict[str, float] = {}
    quantization = dict(graph.quantization)
    for operator in graph.operators:
        read = 1.0
        for name in operator.inputs:
            read *= factors.get(name, 1.0)
        if isinstance(operator, op.Weighted):
            if read != 1:
                quantization[operator.weight] = _times(graph.quantization[operator.weight], 1 / read)
            continue
        factor = read * (SIX if operator.output in gates else 1.0)
        if factor != 1:
            factors[operator.output] = factor
            quantization[operator.output] = _times(graph.quantization[operator.output], factor)
    return quantization


def _times(quantization: Quantization, factor: float) -> Quantization:
    return Quantization(tuple(scale * factor for scale in quantization.scales), quantization.zero_point)

"""Hard sigmoid and hard swish on integers, in the forms that runtimes compute fast; the integers stay those of the graph.

Hard sigmoid is relu6(x + 3) / 6. A file needs no division: six times the scale reads the same integers as six times as much,
and whatever multiplies them next takes the sixth into a scale of its own.
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
    """The graph with scales in which hard sigmoids need not be divided by 6, and the names of their values.

    Those values have six times their scale, and so have the products that read them; the weights that follow have a sixth of
    theirs. Every integer stays as it is. A hard sigmoid whose reader cannot take the factor in is left as it was.

    Args:
        graph: in integers, in floats, or both.
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
    """The graph with every hard swish, where it is x times its hard sigmoid, fused into the operator that makes x.

    What is between them is no longer rounded to 8 bits. The int8 rules do not allow this form: it is for runtimes that compute
    an activation in floats before they round.

    Args:
        graph: in integers, in floats, or both.
    """
    counts, makers = graph.readers(), {operator.output: operator for operator in graph.operators}
    made: dict[str, str] = {}  # what hard swish reads: what it makes
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
    """The quantizations in which the integers of `gates` stand for six times as much."""
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

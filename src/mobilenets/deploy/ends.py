"""Int8 input and outputs for a quantized network, instead of floats that it converts itself."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.errors import GraphError


def with_integer_ends(graph: Graph) -> Graph:
    """The graph without quantization of its input and dequantization of its outputs.

    It takes 8-bit integers and returns 8-bit integers, except for outputs that were computed in floats.

    Args:
        graph: a graph that quantizes its input.

    Raises:
        GraphError: the first layer computes in floats.
    """
    starts = {
        operator.output for operator in graph.operators if isinstance(operator, op.Quantize) and operator.inputs == (INPUT,)
    }
    readers = [operator for operator in graph.operators if INPUT in operator.inputs]
    kinds = {graph.quantization[name] for name in starts}
    if len(kinds) != 1 or len(readers) != len(starts):
        raise GraphError("it cannot take integers, because its first layer computes in floats")
    [taken] = kinds
    ends = {operator.output: operator.inputs[0] for operator in graph.operators if isinstance(operator, op.Dequantize)}
    outputs = {name: ends.get(value, value) for name, value in graph.outputs.items()}
    read = {name for operator in graph.operators for name in operator.inputs}
    dropped = starts | {value for value in graph.outputs.values() if value in ends and value not in read}
    operators = tuple(
        replace(operator, inputs=tuple(INPUT if name in starts else name for name in operator.inputs))  # type: ignore[type-var]
        for operator in graph.operators
        if operator.output not in dropped
    )
    quantization = {name: value for name, value in graph.quantization.items() if name not in starts}
    result = replace(graph, operators=operators, outputs=outputs, quantization={**quantization, INPUT: taken})
    result.check()
    return result

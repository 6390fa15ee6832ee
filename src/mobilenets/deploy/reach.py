"""`within_reach`: sums whose inputs have scales that XNNPACK can add; it refuses those that are far below the scale made.

A branch that is dead on all calibration images has a scale near 0, and adds nothing to a value of usual size. Written with a
larger scale, its numbers are rounded to what they count for in the sum.
"""

from __future__ import annotations

from dataclasses import replace

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.reference_int8 import six_times

LEAST_RATIO = 2.0**-10
"""Of the scale that a sum reads to the scale that it makes, by XNNPACK."""

_STEP = 2.0**7  # the most that a conversion between integers may change a scale by, by XNNPACK


def within_reach(graph: Graph) -> Graph:
    """The graph with a `Quantize` before each sum or hard sigmoid that reads a scale too small for XNNPACK.

    Args:
        graph: in integers, in floats, or both.
    """
    operators: list[op.Operator] = []
    quantization = dict(graph.quantization)
    for operator in graph.operators:
        made = quantization.get(operator.output)
        if made is None or not _adds(operator):
            operators.append(operator)
            continue
        total = six_times(made) if isinstance(operator, op.Activation) else made
        least = 2 * LEAST_RATIO * total.scale
        inputs = []
        for i, name in enumerate(operator.inputs):
            while quantization[name].scale < least / 2:
                coarser = f"{operator.name}/reach{len(operators)}.{i}"
                scale = min(least, quantization[name].scale * _STEP)
                quantization[coarser] = Quantization((scale,), quantization[name].zero_point)
                operators.append(op.Quantize(name=coarser, inputs=(name,), output=coarser, block=operator.block))
                name = coarser
            inputs.append(name)
        operators.append(replace(operator, inputs=tuple(inputs)))  # type: ignore[type-var]  # every operator is a record
    return replace(graph, operators=tuple(operators), quantization=quantization)


def _adds(operator: op.Operator) -> bool:
    return isinstance(operator, op.Add) or (isinstance(operator, op.Activation) and operator.kind == "hard_sigmoid")

"""`within_reach`: raises input scales of additions that XNNPACK would refuse because they are far below the output scale.

A branch that is dead on all calibration images has a scale near 0 and adds practically nothing to the sum. With a larger scale,
its values are rounded to the precision that matters in the sum.
"""

from __future__ import annotations

from dataclasses import replace

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.reference_int8 import six_times

LEAST_RATIO = 2.0**-10
"""The smallest ratio of input scale to output scale of an addition that XNNPACK accepts."""

_STEP = 2.0**7  # the largest change of scale in one conversion between integers that XNNPACK accepts


def within_reach(graph: Graph) -> Graph:
    """The graph with a `Quantize` before each addition or hard sigmoid whose input scale is too small for XNNPACK.

    Args:
        graph: a quantized, float or mixed graph.
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

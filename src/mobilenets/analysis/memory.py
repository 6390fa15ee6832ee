"""The memory that feature maps need while a network runs: which values are live at each layer, and the peak.

A value is live from the layer that computes it to the last layer that reads it; a shortcut keeps its source live across the
whole block. The rule is from the V2 paper (section 5.1): a layer needs its inputs, its output, and every other value that is
still to be read. Batch norms and activations are part of their layer, padding and reshapes cost nothing, and a sum or product
overwrites an operand that no later layer reads. Weights are not included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mobilenets.analysis.layers import Layer, LayerGraph

Precision = Literal["fp32", "fp16", "int8"]
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The memory of one run.

    Args:
        live_bytes: bytes that are live at each layer, in the order of `LayerGraph.layers`.
        precision: precision of every value.
    """

    live_bytes: tuple[int, ...]
    precision: Precision

    @property
    def peak_bytes(self) -> int:
        """The largest number of bytes that are live at once."""
        return max(self.live_bytes)

    @property
    def peak(self) -> int:
        """Index of the layer that needs the most memory, the first one if there are several."""
        return self.live_bytes.index(self.peak_bytes)


def plan(graph: LayerGraph, precision: Precision = "fp32") -> MemoryPlan:
    """The memory plan when every value is stored in full.

    Args:
        graph: graph of one run, including the batch.
        precision: precision of every value.
    """
    return _plan(graph, precision, [[layer] for layer in graph.layers])


def bottleneck_plan(graph: LayerGraph, precision: Precision = "fp32") -> MemoryPlan:
    """The memory plan when each block is one operation, whose inner maps are never stored in full (V2, section 5.1).

    The inner maps are computed piece by piece, so only the narrow ends of the blocks count; this is the benefit of linear
    bottlenecks. Every layer of a block needs the same amount.

    Args:
        graph: graph of one run, including the batch.
        precision: precision of every value.
    """
    steps: list[list[Layer]] = []
    for layer in graph.layers:
        if steps and layer.block >= 0 and steps[-1][-1].block == layer.block:
            steps[-1].append(layer)
        else:
            steps.append([layer])
    return _plan(graph, precision, steps)


def activation_bytes(graph: LayerGraph, layer: Layer, precision: Precision = "fp32") -> int:
    """Size of a layer's output in bytes."""
    return graph.elements(layer.output) * BYTES[precision]


def _plan(graph: LayerGraph, precision: Precision, steps: Sequence[Sequence[Layer]]) -> MemoryPlan:
    """The memory plan when the layers of a step run as one; values that are only used within a step take no memory."""
    last_read = {value: i for i, step in enumerate(steps) for layer in step for value in layer.inputs}
    last_read.update(dict.fromkeys(graph.outputs, len(steps)))
    alive = {0}
    live_bytes: list[int] = []
    for i, step in enumerate(steps):
        made = {layer.output for layer in step if last_read.get(layer.output, -1) > i}
        held = alive | made - _written_over(graph, step, i, last_read)
        live_bytes += [sum(graph.elements(value) for value in held) * BYTES[precision]] * len(step)
        alive = {value for value in alive | made if last_read.get(value, -1) > i}
    return MemoryPlan(tuple(live_bytes), precision)


def _written_over(graph: LayerGraph, step: Sequence[Layer], i: int, last_read: Mapping[int, int]) -> set[int]:
    """The output of a single sum or product if it can overwrite an operand of the same shape that is not read again."""
    [first, *others] = step
    if others or first.kind not in ("add", "multiply"):
        return set()
    dying = [value for value in first.inputs if last_read[value] == i and graph.shapes[value] == graph.shapes[first.output]]
    return {first.output} if dying else set()

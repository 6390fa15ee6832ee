"""How much memory the feature maps need while a network runs: who is alive at each layer, and the peak.

A value lives from the layer that makes it to the last that reads it; a shortcut keeps its source alive across the whole block.
The rule is the V2 paper's (section 5.1): a layer needs its inputs, its output, and all else that is still to be read. Norms and
activations are part of their layer, padding and reshapes cost nothing, and a sum or product writes over an operand that
nobody reads afterwards. Weights are not included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mobilenets.analysis.graph import Graph, Layer

Precision = Literal["fp32", "fp16", "int8"]
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The memory of one run.

    Args:
        live_bytes: at each layer, in the order of `Graph.layers`.
        precision: of every value.
    """

    live_bytes: tuple[int, ...]
    precision: Precision

    @property
    def peak_bytes(self) -> int:
        """The most that is alive at once."""
        return max(self.live_bytes)

    @property
    def peak(self) -> int:
        """Index of the layer that needs the most; the first of them."""
        return self.live_bytes.index(self.peak_bytes)


def plan(graph: Graph, precision: Precision = "fp32") -> MemoryPlan:
    """The memory with every value held whole.

    Args:
        graph: of one run, batch included.
        precision: how wide a number is.
    """
    return _plan(graph, precision, [[layer] for layer in graph.layers])


def bottleneck_plan(graph: Graph, precision: Precision = "fp32") -> MemoryPlan:
    """The memory when a block is one operation, whose inner maps are computed piece by piece and never held (V2, section 5.1).

    Only the narrow ends of the blocks count: it is what the linear bottlenecks buy. Every layer of a block needs the same.

    Args:
        graph: of one run, batch included.
        precision: how wide a number is.
    """
    steps: list[list[Layer]] = []
    for layer in graph.layers:
        if steps and layer.block >= 0 and steps[-1][-1].block == layer.block:
            steps[-1].append(layer)
        else:
            steps.append([layer])
    return _plan(graph, precision, steps)


def activation_bytes(graph: Graph, layer: Layer, precision: Precision = "fp32") -> int:
    """Bytes of what a layer makes."""
    return graph.elements(layer.output) * BYTES[precision]


def _plan(graph: Graph, precision: Precision, steps: Sequence[Sequence[Layer]]) -> MemoryPlan:
    """The memory when the layers of a step run as one: what is made and read within it takes no room."""
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


def _written_over(graph: Graph, step: Sequence[Layer], i: int, last_read: Mapping[int, int]) -> set[int]:
    """The output of a lone sum or product when one of its operands dies there and has its shape."""
    [first, *others] = step
    if others or first.kind not in ("add", "multiply"):
        return set()
    dying = [value for value in first.inputs if last_read[value] == i and graph.shapes[value] == graph.shapes[first.output]]
    return {first.output} if dying else set()

"""How much memory the feature maps need while a network runs: who is alive at each layer, and the peak.

A value lives from the layer that makes it to the last that reads it; a shortcut keeps its source alive across the whole block.
The rule is the V2 paper's (section 5.1): a layer needs its inputs, its output, and all else that is still to be read. Norms and
activations are part of their layer, padding and reshapes cost nothing, and a sum or product writes over an operand that
nobody reads afterwards. Weights are not included.
"""

from __future__ import annotations

from collections.abc import Callable
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
    return _plan(graph, precision, lambda value: graph.elements(value) * BYTES[precision])


def bottleneck_plan(graph: Graph, precision: Precision = "fp32") -> MemoryPlan:
    """The memory when what lives inside one block is computed piece by piece and never held (V2, section 5.1).

    Only the narrow ends of the blocks count: it is what the linear bottlenecks buy, and what V2, Table 3 lists.

    Args:
        graph: of one run, batch included.
        precision: how wide a number is.
    """
    inner = _inside_one_block(graph)
    return _plan(graph, precision, lambda value: 0 if value in inner else graph.elements(value) * BYTES[precision])


def activation_bytes(graph: Graph, layer: Layer, precision: Precision = "fp32") -> int:
    """Bytes of what a layer makes."""
    return graph.elements(layer.output) * BYTES[precision]


def _plan(graph: Graph, precision: Precision, size: Callable[[int], int]) -> MemoryPlan:
    last_read = _last_read(graph)
    alive = {0: size(0)}
    live_bytes = []
    for i, layer in enumerate(graph.layers):
        made = size(layer.output)
        over = made if _writes_over(graph, layer, i, last_read) else 0
        live_bytes.append(sum(alive.values()) + made - over)
        alive[layer.output] = made
        alive = {value: n for value, n in alive.items() if last_read.get(value, -1) > i}
    return MemoryPlan(tuple(live_bytes), precision)


def _last_read(graph: Graph) -> dict[int, int]:
    reads = {value: i for i, layer in enumerate(graph.layers) for value in layer.inputs}
    return {**reads, graph.output: len(graph.layers)}


def _writes_over(graph: Graph, layer: Layer, i: int, last_read: dict[int, int]) -> bool:
    if layer.kind not in ("add", "multiply"):
        return False
    return any(last_read[value] == i and graph.shapes[value] == graph.shapes[layer.output] for value in layer.inputs)


def _inside_one_block(graph: Graph) -> set[int]:
    makers = {layer.output: layer.block for layer in graph.layers}
    readers: dict[int, set[int]] = {}
    for layer in graph.layers:
        for value in layer.inputs:
            readers.setdefault(value, set()).add(layer.block)
    return {value for value, block in makers.items() if block >= 0 and readers.get(value) == {block}}

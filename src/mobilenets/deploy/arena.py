"""Memory planning: the lifetime of each value of a graph, and its offset in one block of memory, the arena.

A value is alive from the operator that produces it to the last one that reads it; outputs of the graph live to the end. Offsets
are assigned greedily, the largest value first, each in the smallest gap that is free during its lifetime. This is the rule of
TFLite's planner; it comes close to the lower bound of any plan, the largest total size of values alive at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.shapes import Shape

ALIGNMENT = 64
"""Every offset is a multiple of this many bytes, as suits vector instructions."""


@dataclass(frozen=True, slots=True)
class Life:
    """The lifetime and size of a value.

    Args:
        first: index of the step that produces it, where a step is an operator or a fused block; -1 for the input.
        last: index of the last step that reads it.
        size_bytes: its size for one image.
    """

    first: int
    last: int
    size_bytes: int

    def meets(self, other: Life) -> bool:
        """Whether there is a step during which both are alive."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Arena:
    """The memory plan of one run.

    Args:
        lives: the lifetime of every value.
        offsets: the offset of every value, in bytes.
        live_bytes: the total size of the values alive at each step.
    """

    lives: Mapping[str, Life]
    offsets: Mapping[str, int]
    live_bytes: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """The size of the arena."""
        return max((self.offsets[name] + life.size_bytes for name, life in self.lives.items()), default=0)

    @property
    def peak_bytes(self) -> int:
        """The largest total size of values alive at once; no arena can be smaller."""
        return max(self.live_bytes, default=0)


def plan(graph: Graph, *, number_bytes: int = 4) -> Arena:
    """The memory plan of a graph that runs operator by operator.

    The output of a reshape takes no memory of its own: it is an alias of the input.

    Args:
        graph: a network.
        number_bytes: size of a float, 4 or 2. Quantized numbers and indices take 1 byte.
    """
    return planned(graph, [[i] for i in range(len(graph.operators))], number_bytes=number_bytes)


def fused_plan(graph: Graph, *, number_bytes: int = 4) -> Arena:
    """The memory plan of a graph whose blocks are fused, that is computed row by row (V2, section 5.1).

    If only operators of its own block read a feature map, by a sliding window or elementwise, only the rows needed for the next
    row are kept: three rows of the expanded map before a 3x3 depthwise convolution, one after it. A map that is read as a whole
    is kept as a whole, such as the one that squeeze-and-excite pools and then scales. The first convolution and the single
    operators around it run with the block after it, as in Table 3 of the paper. An image that is only quantized is read
    from the caller's memory and takes none.

    Args:
        graph: a network.
        number_bytes: size of a float, as for `plan`.
    """
    return planned(graph, blocks(graph), number_bytes=number_bytes)


def blocks(graph: Graph) -> list[list[int]]:
    """The indices of the operators of each fused block; an operator outside of blocks is a step of its own.

    Resizing logits and taking their argmax are fused too, so that the resized logits are never stored.
    """
    steps: list[list[int]] = []
    for i, operator in enumerate(graph.operators):
        if steps and _continues(graph.operators[steps[-1][-1]], operator):
            steps[-1].append(i)
        else:
            steps.append([i])
    weighted = [i for i, operator in enumerate(graph.operators) if isinstance(operator, op.Conv | op.Depthwise | op.Dense)]
    stem = weighted[1] if len(weighted) > 1 else 0  # the number of operators before the second one with weights
    while len(steps) > 1 and steps[0][-1] < stem:
        steps[:2] = [[*steps[0], *steps[1]]]
    return steps


def _continues(before: op.Operator, operator: op.Operator) -> bool:
    """Whether an operator belongs to the same step as the previous one."""
    in_block = operator.block >= 0 and before.block == operator.block
    return in_block or (isinstance(before, op.Resize) and isinstance(operator, op.ArgMax))


def planned(graph: Graph, steps: Sequence[Sequence[int]], *, number_bytes: int = 4) -> Arena:
    """The memory plan of a graph that runs in these steps, each a single operator or several that are fused.

    Args:
        graph: a network.
        steps: the indices of each step's operators, in the order of the graph.
        number_bytes: size of a float, as for `plan`.
    """
    lives = _lives(graph, steps, number_bytes)
    lives |= {name: replace(lives[name], size_bytes=0) for name in left_outside(graph, steps) | _never_made(graph, steps)}
    live = [sum(life.size_bytes for life in lives.values() if life.first <= i <= life.last) for i in range(len(steps))]
    return Arena(lives, place(lives), tuple(live))


def left_outside(graph: Graph, steps: Sequence[Sequence[int]]) -> Set[str]:
    """The image if it stays in the caller's memory: blocks are fused, and the image is only quantized."""
    readers = [operator for operator in graph.operators if INPUT in operator.inputs]
    is_only_quantized = all(isinstance(operator, op.Quantize) for operator in readers)
    is_needed = INPUT in graph.quantization or INPUT in graph.outputs.values()
    has_blocks = any(len(inside) > 1 for inside in steps)
    return {INPUT} if has_blocks and is_only_quantized and not is_needed else frozenset()


def _never_made(graph: Graph, steps: Sequence[Sequence[int]]) -> Set[str]:
    """Resized feature maps that are never stored, because the argmax of the same step reads the small map."""
    parts = [[graph.operators[i] for i in step] for step in steps]
    pairs = [(part, resize_of(graph, operator)) for part in parts for operator in part]
    return {large.output for part, large in pairs if large and large in part}


def resize_of(graph: Graph, operator: op.Operator) -> op.Resize | None:
    """The resize of a float map for this argmax alone, or None; as one step, the argmax reads the small map instead."""
    if not isinstance(operator, op.ArgMax) or graph.readers()[operator.inputs[0]] > 1:
        return None
    found = (other for other in graph.operators if isinstance(other, op.Resize) and other.output == operator.inputs[0])
    large = next(found, None)
    return None if large is None or graph.quantized(large) else large


def lifetimes(graph: Graph, *, number_bytes: int) -> dict[str, Life]:
    """The lifetime of each value, counted in operators; outputs of reshapes, which are aliases, are left out."""
    return _lives(graph, [[i] for i in range(len(graph.operators))], number_bytes)


def value_bytes(graph: Graph, name: str, shape: Shape, *, number_bytes: int = 4) -> int:
    """The size of a value for one image: floats, 8-bit integers, or the indices of an argmax."""
    if name in graph.quantization:
        return math.prod(shape)
    return math.prod(shape) * (_INDEX_BYTES if len(shape) == 2 and name in _indices(graph) else number_bytes)


def _lives(graph: Graph, steps: Sequence[Sequence[int]], number_bytes: int) -> dict[str, Life]:
    """The lifetime of each value, counted in steps; a feature map that lives in a single step has only the rows it needs."""
    shapes = graph.shapes()
    source = {name: name for name in shapes}  # the value whose memory each value occupies
    for operator in graph.operators:
        if isinstance(operator, _RENAMING):
            source[operator.output] = source[operator.inputs[0]]
    first = {INPUT: -1} | {name: step for step, inside in enumerate(steps) for i in inside for name in graph.operators[i].made}
    last = dict(first)
    readers: dict[str, list[op.Operator]] = {name: [] for name in shapes}
    for step, inside in enumerate(steps):
        for operator in (graph.operators[i] for i in inside):
            for name in (*operator.inputs, *operator.made):
                last[source[name]] = max(last[source[name]], step)
            for name in operator.inputs:
                readers[source[name]].append(operator)
    outputs = {source[value] for value in graph.outputs.values()}
    last |= dict.fromkeys(outputs, len(steps) - 1)
    sizes = {name: value_bytes(graph, name, shape, number_bytes=number_bytes) for name, shape in shapes.items()}
    paces: dict[str, _Pace] = {}
    for name, shape in reversed(shapes.items()):
        in_one_step = first[name] == last[name] and len(steps[first[name]]) > 1
        is_inner_map = in_one_step and name not in outputs and len(shape) == 3
        kept = _rows_kept(graph, readers[name], paces) if is_inner_map else None
        if kept is not None and kept[0] < shape[1]:
            sizes[name] = sizes[name] // shape[1] * kept[0]
            paces[name] = kept[1]
    return {name: Life(first[name], last[name], sizes[name]) for name in shapes if source[name] == name}


@dataclass(frozen=True, slots=True)
class _Pace:
    """The progress of a feature map of which only a few rows are kept, relative to the output rows of its block.

    Args:
        newest: index of the newest row when row 0 of the block's output is computed.
        gain: rows computed for each row of the block's output.
    """

    newest: int = 0
    gain: int = 1


def _rows_kept(graph: Graph, readers: Sequence[op.Operator], paces: Mapping[str, _Pace]) -> tuple[int, _Pace] | None:
    """The number of rows of a feature map that its readers need at once, and its pace; None if one of them needs all rows.

    A single reader needs the rows in its window. Several readers may be at different rows, so more rows are kept, for example
    for a shortcut around a convolution.

    Args:
        graph: the graph of the readers.
        readers: the readers of the map, all in its block.
        paces: the paces of later maps of which only a few rows are kept.
    """
    rows, newest, oldest, gain = 1, 0, 0, 1
    for i, reader in enumerate(readers):
        if isinstance(reader, op.Conv | op.Depthwise):
            stride, top = reader.stride[0], reader.padding[0]
            reach = int(reader.dilation[0] * (graph.tensors[reader.weight].shape[2] - 1) + 1)
        elif isinstance(reader, _ROW_BY_ROW):
            stride, top, reach = 1, 0, 1
        else:
            return None
        pace = paces.get(reader.output, _Pace())
        newest = max(newest, pace.newest * stride - top + reach - 1)
        first = (pace.newest - pace.gain + 1) * stride - top
        oldest = first if i == 0 else min(oldest, first)
        gain, rows = max(gain, pace.gain * stride), max(rows, reach)
    if len(readers) > 1:
        rows = max(rows, newest - oldest + 1)
    return rows, _Pace(newest, gain)


def _indices(graph: Graph) -> set[str]:
    return {operator.output for operator in graph.operators if isinstance(operator, op.ArgMax)}


def place(lives: Mapping[str, Life]) -> dict[str, int]:
    """An offset for each value, in bytes, such that no two values alive at the same time overlap."""
    offsets: dict[str, int] = {}
    for name in sorted(lives, key=lambda name: (-lives[name].size_bytes, lives[name].first)):
        life = lives[name]
        taken = sorted((offsets[other], lives[other].size_bytes) for other in offsets if life.meets(lives[other]))
        gaps, end = [], 0
        for offset, size in taken:
            if offset - end >= life.size_bytes:
                gaps.append((offset - end, end))
            end = max(end, _aligned(offset + size))
        offsets[name] = min(gaps)[1] if gaps else end
    return offsets


_RENAMING = (op.Flatten, op.Rows, op.Places)
_ROW_BY_ROW = (op.Add, op.Multiply, op.Activation, op.Quantize, op.Dequantize, op.ArgMax)
_INDEX_BYTES = 1


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT

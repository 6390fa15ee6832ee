"""The static schedule of exported C++: the order in which rows are computed, and their places in memory.

A block is computed row by row only if that lowers the network's peak memory. Otherwise it runs operator by operator, which is
faster: whole feature maps fill the kernels' tiles, and weights are read once. Memory never exceeds that of `fused_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import Arena, blocks, left_outside, planned, resize_of, value_bytes
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.shapes import Shape

RENAMING = (op.Flatten, op.Rows, op.Places)
"""Operators whose output is an alias of their input."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value in memory.

    Args:
        offset: bytes from the start of the arena.
        height: number of rows.
        held: number of rows that are kept: all, or the last few.
        row_bytes: size of a row.
        width: pixels in a row.
        channels: numbers per pixel.
    """

    offset: int
    height: int
    held: int
    row_bytes: int
    width: int
    channels: int

    @property
    def is_ring(self) -> bool:
        """Whether only the last rows are kept, in a ring buffer."""
        return self.held < self.height


@dataclass(frozen=True, slots=True)
class Stage:
    """The computation of one whole value.

    Args:
        rows: the index of the operator that computes each row, in the order of computation; each operator computes its own rows
            in order. A single entry means that this operator computes all rows at once.
    """

    rows: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether one operator computes all rows at once."""
        return len(self.rows) == 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of a network.

    Args:
        places: of every value, including outputs of reshapes.
        stages: in the order in which they run.
        arena_bytes: size of the arena.
        image_stays: whether the image is read from the caller's memory.
    """

    places: Mapping[str, Place]
    stages: tuple[Stage, ...]
    arena_bytes: int
    image_stays: bool

    @property
    def operators(self) -> list[int]:
        """The indices of the operators that compute anything."""
        return sorted({i for stage in self.stages for i in stage.rows})


def scheduled(graph: Graph) -> Schedule:
    """The schedule with the least memory, at most that of `fused_plan`, and with as few fused blocks as this memory allows."""
    enlarging = [resize_of(graph, operator) for operator in graph.operators]
    steps = [part for step in blocks(graph) for part in _possible(graph, step)]
    least = planned(graph, steps).size_bytes
    image_stays = bool(left_outside(graph, steps))
    for step in list(steps):
        if len(step) > 1 and not any(enlarging[i] for i in step):
            at = steps.index(step)
            apart = [*steps[:at], *([i] for i in step), *steps[at + 1 :]]
            size_bytes = planned(graph, apart).size_bytes
            if bool(left_outside(graph, apart)) == image_stays and size_bytes <= least:
                steps, least = apart, size_bytes
    arena = planned(graph, steps)
    places = _places(graph, arena)
    stages: list[Stage] = []
    for step in steps:
        for i in step:
            operator = graph.operators[i]
            if not (places[operator.made[0]].is_ring or isinstance(operator, RENAMING) or operator in enlarging):
                order = _Rows(graph, places, step).order(i)
                assert order is not None  # `_possible` has checked this
                stages.append(Stage(order))
    return Schedule(places, tuple(stages), arena.size_bytes, image_stays)


def needed(graph: Graph, operator: op.Operator, i: int, rows: range, places: Mapping[str, Place]) -> range:
    """The rows of input `i` that an operator needs to compute these rows of its output."""
    read = places[operator.inputs[i]]
    match operator:
        case op.Conv() | op.Depthwise():
            reach = operator.dilation[0] * (graph.tensors[operator.weight].shape[2] - 1) + 1
            return _window(rows, operator.stride[0], operator.padding[0], int(reach), read.height)
        case op.Pool():
            return _window(rows, operator.stride[0], 0, operator.kernel[0], read.height)
        case op.Multiply() if i == 1 and read.height == 1:
            return range(1)
        case op.Add() | op.Multiply() | op.Activation() | op.Quantize() | op.Dequantize() | op.ArgMax():
            return rows
        case _:
            return range(read.height)


def _window(rows: range, stride: int, top: int, reach: int, height: int) -> range:
    first = min(max(rows.start * stride - top, 0), height)
    return range(first, max(first, min((rows.stop - 1) * stride - top + reach, height)))


def _possible(graph: Graph, step: Sequence[int]) -> list[list[int]]:
    """The fused step, or its operators one by one if a row would be overwritten before it is read.

    No block of the papers has that problem.
    """
    apart = [[i] for i in step]
    if len(step) == 1:
        return apart
    every = [other if other != list(step) else list(step) for other in blocks(graph)]
    places = _places(graph, planned(graph, every))
    whole = [i for i in step if not places[graph.operators[i].made[0]].is_ring]
    return [list(step)] if all(_Rows(graph, places, step).order(i) is not None for i in whole) else apart


def _places(graph: Graph, arena: Arena) -> dict[str, Place]:
    places: dict[str, Place] = {}
    source = {name: name for name in graph.shapes()}
    for operator in graph.operators:
        if isinstance(operator, RENAMING):
            source[operator.output] = source[operator.inputs[0]]
    for name, shape in graph.shapes().items():
        height, width, channels = _sides(shape)
        row_bytes = value_bytes(graph, name, shape) // height
        held = height
        if source[name] == name and arena.lives[name].size_bytes:
            held = arena.lives[name].size_bytes // row_bytes
        places[name] = Place(arena.offsets[source[name]], height, held, row_bytes, width, channels)
    return places


def _sides(shape: Shape) -> tuple[int, int, int]:
    """Height, width and channels in memory of a feature map C H W, a table P C or a vector C."""
    if len(shape) == 3:
        return shape[1], shape[2], shape[0]
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (1, 1, shape[0])


class _Rows:
    """Finds the order of rows in one step, by recursing from each row to the rows that it is computed from."""

    def __init__(self, graph: Graph, places: Mapping[str, Place], step: Sequence[int]) -> None:
        self._graph = graph
        self._places = places
        self._makers = {name: i for i in step for name in graph.operators[i].made}
        self._made: dict[str, int] = {}  # rows of each ring computed so far
        self._order: list[int] = []

    def order(self, i: int) -> tuple[int, ...] | None:
        """The order that computes all rows of an operator's output; None if a ring would lose a row too early."""
        operator = self._graph.operators[i]
        if not any(self._is_ring(name) for name in operator.inputs):
            return (i,)
        height = self._places[operator.output].height
        return tuple(self._order) if all(self._compute(i, y) for y in range(height)) else None

    def _is_ring(self, name: str) -> bool:
        return name != INPUT and self._places[name].is_ring

    def _compute(self, i: int, y: int) -> bool:
        operator = self._graph.operators[i]
        rings = [
            (name, needed(self._graph, operator, at, range(y, y + 1), self._places))
            for at, name in enumerate(operator.inputs)
            if self._is_ring(name)
        ]
        if not all(self._fill(name, rows) for name, rows in rings):
            return False
        if any(rows.start < self._made[name] - self._places[name].held for name, rows in rings):
            return False  # filling one ring pushed a row out of another
        self._order.append(i)
        return True

    def _fill(self, name: str, rows: range) -> bool:
        made = self._made.setdefault(name, 0)
        for y in range(made, rows.stop):
            self._made[name] = y + 1
            if not self._compute(self._makers[name], y):
                return False
        return True

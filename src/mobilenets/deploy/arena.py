"""Where each value of a graph lies in memory while it is needed: lifetimes, and offsets in one block of memory, the arena.

A value is alive from the operator that makes it to the last that reads it; what the caller gets lives to the end. Offsets are
chosen greedily, the largest value first, each in the smallest gap that is free during its life: the rule of TFLite's planner,
near the bound that no plan can beat, the most that is alive at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph

ALIGNMENT = 16
"""Bytes that every offset is a multiple of, as vector instructions like it."""


@dataclass(frozen=True, slots=True)
class Life:
    """When a value is alive, and how large it is.

    Args:
        first: index of the operator that makes it; -1 for the input.
        last: index of the last operator that reads it.
        size_bytes: of one image's value.
    """

    first: int
    last: int
    size_bytes: int

    def meets(self, other: Life) -> bool:
        """Whether there is an operator during which both are alive."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Arena:
    """The memory of one run.

    Args:
        lives: of every value.
        offsets: where it begins, bytes.
        live_bytes: what is alive at each operator.
    """

    lives: Mapping[str, Life]
    offsets: Mapping[str, int]
    live_bytes: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the block of memory."""
        return max((self.offsets[name] + life.size_bytes for name, life in self.lives.items()), default=0)

    @property
    def peak_bytes(self) -> int:
        """The most that is alive at once: no arena can be smaller."""
        return max(self.live_bytes, default=0)


def plan(graph: Graph, *, number_bytes: int = 4) -> Arena:
    """The memory of a graph that is run operator by operator.

    A reshape takes no room: its value is that of its input under another name.

    Args:
        graph: a network.
        number_bytes: of one number: 4, 2 or 1.
    """
    lives = lifetimes(graph, number_bytes=number_bytes)
    live = [
        sum(life.size_bytes for life in lives.values() if life.first <= i <= life.last) for i in range(len(graph.operators))
    ]
    return Arena(lives, place(lives), tuple(live))


def lifetimes(graph: Graph, *, number_bytes: int) -> dict[str, Life]:
    """When each value is alive; values that only rename another are left out."""
    shapes = graph.shapes()
    source = {name: name for name in shapes}  # whose memory a value stands in
    for operator in graph.operators:
        if isinstance(operator, _RENAMING):
            source[operator.output] = source[operator.inputs[0]]
    first = {INPUT: -1} | {operator.output: i for i, operator in enumerate(graph.operators)}
    last = dict(first)
    for i, operator in enumerate(graph.operators):
        for name in (*operator.inputs, operator.output):
            last[source[name]] = max(last[source[name]], i)
    for value in graph.outputs.values():
        last[source[value]] = len(graph.operators) - 1
    return {
        name: Life(first[name], last[name], math.prod(shape) * number_bytes)
        for name, shape in shapes.items()
        if source[name] == name
    }


def place(lives: Mapping[str, Life]) -> dict[str, int]:
    """An offset for each value, bytes, so that no two that are alive together overlap."""
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


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT

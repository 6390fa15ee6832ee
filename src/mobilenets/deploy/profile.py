"""The profile of a graph: a description of each operator, its multiply-adds, weights and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import fused_plan, plan, value_bytes
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.shapes import Shape
from mobilenets.runtime.profile import Layer, Profile


def profiled(graph: Graph) -> Graph:
    """The graph with its profile in the manifest, which exported files contain."""
    return replace(graph, manifest=replace(graph.manifest, profile=profile(graph)))


def profile(graph: Graph) -> Profile:
    """The cost of a graph for one image."""
    shapes, arena = graph.shapes(), plan(graph)
    layers = tuple(
        Layer(
            operator.name,
            _described(graph, operator, shapes),
            shapes[operator.made[0]],
            sum(graph.tensors[name].size for name in _weights(operator)),
            macs_of(graph, operator, shapes),
            value_bytes(graph, operator.made[0], shapes[operator.made[0]]),
            live,
        )
        for operator, live in zip(graph.operators, arena.live_bytes, strict=True)
    )
    return Profile(layers, arena.size_bytes, fused_plan(graph).size_bytes)


def _weights(operator: op.Operator) -> tuple[str, ...]:
    return (operator.weight, operator.bias) if isinstance(operator, op.Weighted) else ()


def macs_of(graph: Graph, operator: op.Operator, shapes: Mapping[str, Shape]) -> int:
    """Multiply-adds of an operator: only convolutions, linear layers and the matrix products of attention have any."""
    made = shapes[operator.made[0]]
    if isinstance(operator, op.MatMul):
        return math.prod(made) * shapes[operator.inputs[0]][1]
    if isinstance(operator, op.Weighted):
        return math.prod(made) * math.prod(graph.tensors[operator.weight].shape[1:])
    return 0


def _described(graph: Graph, operator: op.Operator, shapes: Mapping[str, Shape]) -> str:
    """A short description of an operator: its kind and window."""
    kind = _NAMES[type(operator)]
    if isinstance(operator, op.Activation):
        return operator.kind.replace("_", " ")
    if isinstance(operator, op.Pool):
        whole = operator.kernel == shapes[operator.inputs[0]][1:]
        return f"{kind} to one place" if whole else f"{kind} {_sides(operator.kernel)}{_strided(operator.stride)}"
    if isinstance(operator, op.Conv | op.Depthwise):
        kernel = graph.tensors[operator.weight].shape[2:]
        spread = f" dilated {operator.dilation[0]}" if max(operator.dilation) > 1 and math.prod(kernel) > 1 else ""
        return f"{kind} {_sides(kernel)}{_strided(operator.stride)}{spread}"
    return kind


def _sides(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _strided(stride: tuple[int, int]) -> str:
    return f" /{stride[0]}" if max(stride) > 1 else ""


_NAMES: Mapping[type[op.Operator], str] = {kind: name for name, kind in op.KINDS.items()}

"""`Piece`: a part of a lowered graph that can run on its own, so that its latency can be measured once and looked up later.

A block of the backbone is one piece, because runtimes fuse operators inside it and the native engine runs it row by row. The
part after the backbone is cut where several values are joined.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import CHOICES, Operator
from mobilenets.deploy.profile import macs_of
from mobilenets.deploy.shapes import Shape
from mobilenets.documents import encode
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUTPUT = "logits"


@dataclass(frozen=True)
class Piece:
    """Some operators with a single input value.

    Args:
        key: describes operators and shapes; pieces with the same key are equally fast.
        graph: a graph of only these operators. Its weights have the right shapes; their values do not matter.
        macs: multiply-adds of one image.
        numbers: number of weights and biases.
    """

    key: str
    graph: Graph
    macs: int
    numbers: int

    @property
    def output(self) -> Shape:
        """The shape of the piece's output, without the batch axis."""
        return self.graph.shapes()[self.graph.outputs[OUTPUT]]


def pieces(graph: Graph) -> list[Piece]:
    """The pieces of a graph, in order; parts that cannot run alone, such as joining boxes of several maps, are left out."""
    shapes = graph.shapes()
    return [_piece(graph, operators, source, shapes) for _, operators, source in _cut(graph, shapes)]


def piece_of(graph: Graph, block: int) -> Piece:
    """The piece of one block of a graph's backbone.

    Args:
        graph: a graph lowered from a model.
        block: index of the block.
    """
    operators = [operator for operator in graph.operators if operator.block == block]
    (source,) = _sources(operators)
    return _piece(graph, operators, source, graph.shapes())


def after_backbone(graph: Graph) -> list[Piece]:
    """The pieces of the tail and the head."""
    shapes = graph.shapes()
    return [_piece(graph, operators, source, shapes) for block, operators, source in _cut(graph, shapes) if block == -1]


def pooled(graph: Graph) -> Graph:
    """The piece with a global mean at its end, for measuring: a network does not return the maps between its pieces."""
    output = graph.outputs[OUTPUT]
    shape = graph.shapes()[output]
    if len(shape) != 3 or shape[1:] == (1, 1):
        return graph
    pool = op.Pool(name=f"{output}.mean", inputs=(output,), output=f"{output}.mean", kernel=(shape[1], shape[2]))
    return replace(graph, operators=(*graph.operators, pool), outputs={OUTPUT: pool.output})


def nothing(manifest: Manifest, *, channels: int = 8, size: int = 1) -> Piece:
    """A piece that only averages a feature map: its latency is the overhead of calling a runtime and passing a map to it.

    Args:
        manifest: the manifest of any network.
        channels, size: of the feature map.
    """
    contract = InputContract(size=size, channels=channels, mean=(0.5,), std=(0.5,))
    operator = op.Pool(name="nothing", inputs=(INPUT,), output="nothing", kernel=(size, size))
    graph = Graph(replace(manifest, input=contract, profile=None), (operator,), {}, {OUTPUT: "nothing"})
    return Piece("nothing", graph, 0, 0)


def _cut(graph: Graph, shapes: Mapping[str, Shape]) -> Iterator[tuple[int, list[Operator], str]]:
    """Cut a graph: the index of a block, or -1, with some of its operators and their input value."""
    entry: dict[str, str] = {}  # for values after the backbone: the input value of their piece
    groups: dict[tuple[int, str], list[Operator]] = {}
    for operator in graph.operators:
        if operator.block >= 0:
            groups.setdefault((operator.block, ""), []).append(operator)
            continue
        sources = {entry.get(name, name) for name in operator.inputs}
        source = sources.pop()
        if sources:  # it joins values, so its output is the input of the next piece
            if len({shapes[name] for name in operator.inputs}) == 1 and len(shapes[operator.inputs[0]]) == 3:
                yield -1, [_reading(operator, operator.inputs[:1] * len(operator.inputs))], operator.inputs[0]
            entry.update(dict.fromkeys(operator.made, operator.output))
            continue
        entry.update(dict.fromkeys(operator.made, source))
        groups.setdefault((-1, source), []).append(operator)
    for (block, source), operators in groups.items():
        if block >= 0:
            (source,) = _sources(operators)
        if len(shapes[source]) == 3:
            yield block, operators, source


def _sources(operators: Sequence[Operator]) -> list[str]:
    """The values that operators read but do not produce."""
    made = {name for operator in operators for name in operator.made}
    return list(dict.fromkeys(name for operator in operators for name in operator.inputs if name not in made))


def _piece(graph: Graph, operators: Sequence[Operator], source: str, shapes: Mapping[str, Shape]) -> Piece:
    channels, height, width = shapes[source]
    contract = InputContract(size=height, channels=channels, mean=(0.5,), std=(0.5,), resize="stretch", crop=1.0)
    manifest = replace(graph.manifest, input=contract.shaped(height, width), profile=None)
    own = [_reading(operator, [INPUT if name == source else name for name in operator.inputs]) for operator in operators]
    names = [
        name for operator in operators for name in (getattr(operator, "weight", ""), getattr(operator, "bias", "")) if name
    ]
    tensors = {name: graph.tensors[name] for name in names}
    alone = Graph(manifest, tuple(own), tensors, {OUTPUT: operators[-1].output})
    macs = sum(macs_of(graph, operator, shapes) for operator in operators)
    return Piece(_key(own, (channels, height, width), tensors), alone, macs, sum(tensor.size for tensor in tensors.values()))


def _reading(operator: Operator, inputs: Sequence[str]) -> Operator:
    """The operator with other inputs."""
    made: Operator = replace(operator, inputs=tuple(inputs))  # type: ignore[type-var]  # every kind is a dataclass
    return made


def _key(operators: Sequence[Operator], shape: Shape, tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """Shape of the input, then each operator: its settings, the shape of its weights, and where its inputs come from."""
    places = {INPUT: "x"}
    parts = ["x".join(map(str, shape))]
    for i, operator in enumerate(operators):
        known = {field.name: field.default for field in fields(operator)}  # type: ignore[arg-type]  # as above
        data = {name: value for name, value in encode(operator, choices=CHOICES).items() if name not in _NAMES}
        data = {name: value for name, value in data.items() if name not in known or value != encode(known[name])}
        if isinstance(operator, op.Weighted):
            data["weight"] = list(tensors[operator.weight].shape)
        data["from"] = ",".join(places[name] for name in operator.inputs)
        places.update({name: str(i) for name in operator.made})
        parts.append(json.dumps(data, separators=(",", ":")))
    return " ".join(parts)


_NAMES = ("name", "inputs", "output", "block", "bias")

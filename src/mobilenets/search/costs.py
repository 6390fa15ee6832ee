"""The costs of a network: predicted latency, size, multiply-adds and memory; and the budget of a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mobilenets.deploy.arena import plan
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.shapes import Shape
from mobilenets.errors import UsageError
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.net.blocks import build_block
from mobilenets.runtime.manifest import Manifest
from mobilenets.search.devices import Measures, Progress
from mobilenets.search.latency import MUCH, MUCH_CHANNELS, MUCH_SIZE, NOTHING, LatencyTable, Whole, key_of
from mobilenets.search.pieces import Piece, after_backbone, nothing, piece_of, pooled
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv, Place, places
from mobilenets.table import Table


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a network without its weights.

    Args:
        key: its key in the latency table.
        macs: multiply-adds of one image.
        numbers: number of weights and biases.
        entering: size of its input.
        output: shape of its output.
        graph: rebuilds the piece for a measurement.
    """

    key: str
    macs: int
    numbers: int
    entering: int
    output: Shape
    graph: Callable[[], Graph] = field(compare=False)


class Costs:
    """Computes the costs of networks; shared pieces are computed only once.

    Args:
        table: the latency table; None if no budget needs latencies.
        device: measures pieces that the table lacks; None if nothing can be measured.
    """

    def __init__(self, table: LatencyTable | None = None, device: Measures | None = None) -> None:
        self.table, self.device = table, device
        self._blocks: dict[object, Part] = {}
        self._heads: dict[object, tuple[Part, ...]] = {}

    def parts(self, spec: ModelSpec) -> list[Part]:
        """The pieces of a network."""
        shape: Shape = (spec.input.channels, *spec.input.shape)
        found: list[Part] = []
        for place in places(spec.backbone):
            key = (place, shape, spec.backbone.padding)
            if key not in self._blocks:
                build = partial(_block, place, spec.backbone, shape)
                self._blocks[key] = _part(build(), lambda build=build: build().graph)  # type: ignore[misc]  # bound now
            found.append(self._blocks[key])
            shape = found[-1].output
        rest = _behind(spec, shape)
        if rest not in self._heads:
            pieces = after_backbone(lower(create(rest)))
            self._heads[rest] = tuple(_part(piece, partial(_head, rest, i)) for i, piece in enumerate(pieces))
        return [*found, *self._heads[rest]]

    def learn(self, specs: Iterable[ModelSpec], progress: Progress = lambda done: None) -> int:
        """Measure the pieces of networks that the table lacks, interleaved; returns their number.

        Raises:
            LatencyError: a piece cannot be measured.
            OSError: the table cannot be written.
        """
        if self.table is None or self.device is None:
            return 0
        missing = self.missing(specs)
        graphs = {key: part.graph for key, part in missing.items()}
        if NOTHING not in self.table.ms and missing:
            graphs[NOTHING] = partial(_nothing, 8, 1)
            graphs[MUCH] = partial(_nothing, MUCH_CHANNELS, MUCH_SIZE)
        keys = list(graphs)
        for first in range(0, len(keys), TOGETHER):
            some = keys[first : first + TOGETHER]
            measured = self.device.latencies_ms([pooled(graphs[key]()) for key in some], progress)
            self.table.add(dict(zip(some, measured, strict=True)))
        return len(missing)

    def missing(self, specs: Iterable[ModelSpec]) -> dict[str, Part]:
        """The pieces of networks that the table lacks, by key."""
        assert self.table is not None
        return {part.key: part for spec in specs for part in self.parts(spec) if part.key not in self.table.ms}

    def check(self, specs: Sequence[ModelSpec], progress: Progress = lambda done: None) -> list[float]:
        """Measure whole networks, interleaved, to calibrate the table; returns their latencies in ms.

        Raises:
            LatencyError: a network cannot be measured.
        """
        assert self.table is not None
        assert self.device is not None
        self.learn(specs)
        measured = self.device.latencies_ms([lower(create(spec)) for spec in specs], progress)
        for spec, ms in zip(specs, measured, strict=True):
            self.table.add_whole(self.whole(spec, ms))
        return measured

    def measured_ms(self, spec: ModelSpec) -> float | None:
        """The measured latency of a whole network; None if it was never measured."""
        whole = None if self.table is None else self.table.wholes.get(key_of([part.key for part in self.parts(spec)]))
        return None if whole is None else whole.ms

    def ms(self, spec: ModelSpec) -> float:
        """The predicted latency of one image; raises LatencyError if the table lacks a piece."""
        assert self.table is not None
        parts = self.parts(spec)
        return self.table.predicted_ms([part.key for part in parts], _moved(parts), _weights(parts))

    def whole(self, spec: ModelSpec, ms: float) -> Whole:
        """The table's record of a network that was measured as a whole."""
        assert self.table is not None
        parts = self.parts(spec)
        keys = [part.key for part in parts]
        return Whole(key_of(keys), self.table.sum_ms(keys), len(keys), _moved(parts), _weights(parts), ms)

    def mb(self, spec: ModelSpec) -> float:
        """Megabytes of the weights in 32-bit floats, with batch norms folded."""
        return 4 * _weights(self.parts(spec))

    def macs(self, spec: ModelSpec) -> float:
        """Millions of multiply-adds of one image."""
        return sum(part.macs for part in self.parts(spec)) / 1e6

    def kb_ram(self, spec: ModelSpec) -> float:
        """Kilobytes of the activations of one image, planned operator by operator in 32-bit floats."""
        return plan(lower(create(spec))).size_bytes / 1e3


@dataclass(frozen=True, slots=True)
class Resource:
    """A cost that can have a budget.

    Args:
        title: its name for users.
        unit: unit of its figures.
        of: computes the cost of a network.
    """

    title: str
    unit: str
    of: Callable[[Costs, ModelSpec], float]


RESOURCES: Table[Resource] = Table(
    "resource",
    {
        "ms": Resource("latency", "ms", Costs.ms),
        "mb": Resource("size", "MB", Costs.mb),
        "macs": Resource("multiply-adds", "million", Costs.macs),
        "kb_ram": Resource("memory", "KB", Costs.kb_ram),
    },
)
"""The resources, by name of their option: "ms" for `--max-ms`."""

Budget = Mapping[str, float]
"""The upper limit for each resource."""


def check_budget(budget: Budget) -> None:
    """Check that a budget is possible.

    Raises:
        UsageError: it is empty, or a figure is not positive.
    """
    if not budget:
        raise UsageError("a search needs a budget", hint="--max-ms 8, or --max-mb, --max-macs, --max-kb-ram")
    for name, most in budget.items():
        if not 0 < most < float("inf"):
            raise UsageError(f"--max-{name.replace('_', '-')} {most:g} is not a positive number")


def spent(costs: Costs, spec: ModelSpec, budget: Budget) -> dict[str, float]:
    """The cost of a network for each resource of the budget."""
    return {name: RESOURCES[name].of(costs, spec) for name in budget}


def worst(cost: Mapping[str, float], budget: Budget) -> str:
    """The resource with the highest cost relative to its budget."""
    return max(budget, key=lambda name: cost[name] / budget[name])


def fits(cost: Mapping[str, float], budget: Budget) -> bool:
    """Whether a cost is within a budget."""
    return all(cost[name] <= most for name, most in budget.items())


def _block(place: Place, backbone: BackboneSpec, shape: Shape) -> Piece:
    """The piece of one block, with random weights."""
    channels, height, width = shape
    contract = InputContract(channels=channels, mean=(0.5,), std=(0.5,), resize="stretch").shaped(height, width)
    alone = replace(backbone, rows=(place.row,), tail=(), in_channels=channels, output_stride=1024)
    model = create(ModelSpec(alone, ("any",), contract))
    model.backbone.blocks[0] = build_block(place, backbone)  # with the dilation that it runs with
    return piece_of(lower(model), 0)


def _behind(spec: ModelSpec, shape: Shape) -> ModelSpec:
    """A small network with the same tail and head; for a classifier, it needs only the last feature map and no other blocks.

    Args:
        spec: the network.
        shape: shape of its last feature map.
    """
    if spec.task != "classify":
        return spec
    channels, height, width = shape
    contract = InputContract(channels=channels, mean=(0.5,), std=(0.5,), resize="stretch").shaped(height, width)
    body = replace(spec.backbone, rows=(Conv(channels),), in_channels=channels)
    return replace(spec, backbone=body, input=contract)


def _head(spec: ModelSpec, i: int) -> Graph:
    return after_backbone(lower(create(spec)))[i].graph


def _moved(parts: Sequence[Part]) -> float:
    """Millions of numbers that pass between the pieces of a network."""
    return sum(part.entering for part in parts[1:]) / 1e6


def _weights(parts: Sequence[Part]) -> float:
    """Millions of weights and biases."""
    return sum(part.numbers for part in parts) / 1e6


def _nothing(channels: int, size: int) -> Graph:
    return nothing(Manifest("nothing", ("any",), InputContract()), channels=channels, size=size).graph


def _part(piece: Piece, graph: Callable[[], Graph]) -> Part:
    shapes = piece.graph.shapes()
    return Part(piece.key, piece.macs, piece.numbers, math.prod(shapes[INPUT]), piece.output, graph)


TOGETHER = 64
"""Pieces that are built and measured at a time; if the process is killed, at most these are lost."""

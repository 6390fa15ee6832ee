"""The roofline model (V4, section 3): what limits each layer on this machine, and which networks are fast on any machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.analysis.layers import Layer, LayerGraph
from mobilenets.reports.plots import WRONG, color_cycle, figure_of, legend_above, line_styles
from mobilenets.science import draw
from mobilenets.science.entry import Asked, Cell, Result
from mobilenets.science.latency import CELLS, latencies
from mobilenets.science.printed import V4_TABLE_6

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOAT_BYTES, INT8_BYTES = 4, 1
SIDE = 768
"""Side of the square matrices for measuring the processor's peak."""
COPIED = 32 * 2**20
"""Number of values copied to measure memory bandwidth: 128 MB, more than fits into caches."""
RIDGE_POINTS = (0.0, *np.geomspace(1, 500, 40).tolist())
"""MACs per byte; the paper sweeps from 0 to 500."""
KINDS = {"conv": "convolutions", "depthwise": "depthwise", "linear": "dense"}
DRAWN = "MNv4-Conv-M"


@dataclass(frozen=True, slots=True)
class Roof:
    """The peak rates of one core of a machine.

    Args:
        macs_per_s: multiply-adds per second in 32-bit floats.
        bytes_per_s: bytes per second to and from memory.
    """

    macs_per_s: float
    bytes_per_s: float

    @property
    def ridge_point(self) -> float:
        """MACs per byte above which the processor, not the memory, is the bottleneck."""
        return self.macs_per_s / self.bytes_per_s

    def seconds(self, graph: LayerGraph) -> float:
        """The minimum time of a network: for each layer, the larger of compute time and memory time."""
        return sum(
            max(layer.macs / self.macs_per_s, moved(graph, layer, FLOAT_BYTES) / self.bytes_per_s) for layer in graph.layers
        )


def roofline(asked: Asked) -> Result:
    """The operational intensity of every layer against this machine's ridge point, and a sweep over ridge points."""
    roof = measured_roof(asked)
    graphs = {line.name: line.built().graph() for line in V4_TABLE_6}
    timed = latencies([line.built() for line in V4_TABLE_6], asked)
    rows: list[tuple[Cell, ...]] = []
    for line in V4_TABLE_6:
        graph = graphs[line.name]
        bound = sum(layer.macs for layer in graph.layers if intensity(graph, layer, FLOAT_BYTES) < roof.ridge_point)
        predicted = 1000 * roof.seconds(graph)
        rows.append((line.name, line.top1, graph.params, graph.macs, bound / graph.macs, predicted, *timed.cells(line.name)))
    figure, _ = figure_of(11, 4.4, columns=2)
    _draw_layers(figure.axes[0], graphs[DRAWN], roof)
    sweeps = {name: [cost(graph, ridge) / 1e6 for ridge in RIDGE_POINTS] for name, graph in graphs.items()}
    _draw_sweep(figure.axes[1], sweeps)
    shares = [timed.ms(name) / (1000 * roof.seconds(graph)) for name, graph in graphs.items()]
    findings = (
        f"One core of this machine computes {roof.macs_per_s / 1e9:.1f} billion MACs a second and moves "
        f"{roof.bytes_per_s / 1e9:.1f} GB a second: its ridge point is {roof.ridge_point:.1f} MACs per byte.",
        f"The networks take {min(shares):.1f} to {max(shares):.1f} times as long as their roofline allows.",
        *claims(sweeps),
    )
    caption = (
        f"Left: each layer of {DRAWN} by its multiply-adds per byte moved, in 32 bits; layers left of the line are "
        "memory-bound on this machine. Right: cost of whole networks in 8 bits against a machine's ridge point, as in the "
        "paper's sweep."
    )
    columns = ("network", "top1_published", "params", "macs", "share_of_macs_bound_by_memory", "roofline_ms", *CELLS)
    return Result(columns, rows, figure, caption, (), findings)


def moved(graph: LayerGraph, layer: Layer, number_bytes: int) -> int:
    """Bytes that a layer reads and writes: its weights, its inputs and its output (V4, section 3)."""
    values = layer.params + sum(graph.elements(value) for value in layer.inputs) + graph.elements(layer.output)
    return values * number_bytes


def intensity(graph: LayerGraph, layer: Layer, number_bytes: int) -> float:
    """Multiply-adds per byte moved."""
    return layer.macs / moved(graph, layer, number_bytes)


def cost(graph: LayerGraph, ridge_point: float) -> float:
    """The time of a network in 8 bits on a machine with this ridge point, in multiply-adds of that machine."""
    return sum(max(layer.macs, ridge_point * moved(graph, layer, INT8_BYTES)) for layer in graph.layers)


def measured_roof(asked: Asked) -> Roof:
    """The peak rates of this machine, from matrix products and copies of arrays larger than the caches, by processor time."""
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(SIDE, SIDE)).astype(np.float32) for _ in range(2))
    source, target = np.zeros(COPIED, np.float32), np.ones(COPIED, np.float32)
    product_s = _fastest(lambda: np.matmul(a, b), asked.seconds)
    copy_s = _fastest(lambda: np.copyto(target, source), asked.seconds)
    return Roof(SIDE**3 / product_s, 2 * source.nbytes / copy_s)


def _fastest(run: Callable[[], object], seconds: float) -> float:
    """The shortest processor time of a call, over as many calls as fit into `seconds`, but at least five."""
    run()
    best, count, begun = float("inf"), 0, time.perf_counter()
    while count < 5 or time.perf_counter() - begun < seconds:
        before = time.process_time()
        run()
        best, count = min(best, time.process_time() - before), count + 1
    return best


def claims(sweeps: dict[str, list[float]]) -> list[str]:
    """A sentence for each V4: at how many ridge points it is cheaper than all earlier networks as accurate, or the best."""
    tops = {line.name: line.top1 for line in V4_TABLE_6}
    found = []
    for name in (name for name in sweeps if name.startswith("MNv4")):
        earlier = [other for other in sweeps if not other.startswith("MNv4")]
        rivals = [other for other in earlier if tops[other] >= tops[name]]
        whom = "every earlier MobileNet that is as accurate"
        if not rivals:
            rivals = [max(earlier, key=lambda other: tops[other])]
            whom = f"{rivals[0]}, the most accurate earlier MobileNet"
        ahead = sum(all(sweeps[other][i] > costs for other in rivals) for i, costs in enumerate(sweeps[name]))
        found.append(f"At {ahead} of {len(RIDGE_POINTS)} ridge points, {name} costs less than {whom}.")
    return found


def _draw_layers(axes: Axes, graph: LayerGraph, roof: Roof) -> None:
    series = []
    for kind, name in KINDS.items():
        layers = [layer for layer in graph.layers if layer.kind == kind]
        series.append(
            draw.Series(
                name, [intensity(graph, layer, FLOAT_BYTES) for layer in layers], [layer.macs / 1e6 for layer in layers]
            )
        )
    draw.scatter(axes, series, x="MACs per byte", y="MACs of the layer, M", log=True)
    axes.set_yscale("log")
    axes.axvline(roof.ridge_point, color=WRONG, linestyle="--", linewidth=1.2, label="ridge point here")
    legend_above(axes, 4)


def _draw_sweep(axes: Axes, sweeps: dict[str, list[float]]) -> None:
    colors, styles = color_cycle(len(sweeps)), line_styles(len(sweeps))
    for (name, costs), color, style in zip(sweeps.items(), colors, styles, strict=True):
        axes.plot(RIDGE_POINTS[1:], costs[1:], style, color=color, linewidth=1.5, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    draw.plain_ticks(axes.xaxis, 1, 500)
    axes.set_xlabel("ridge point, MACs per byte")
    axes.set_ylabel("time, in millions of MACs")
    axes.legend(frameon=False, fontsize=7, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))

"""V2's drawings of blocks, generated from the actual modules (V2, Figures 3 and 4)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mobilenets.analysis.layers import Layer, LayerGraph
from mobilenets.analysis.memory import bottleneck_plan, plan
from mobilenets.analysis.outline import outline
from mobilenets.reports.plots import ACCENT, AMBER, INK, MUTED, PURPLE, SURFACE, TEAL, figure_of
from mobilenets.science.entry import Asked, Cell, Comparison, Result
from mobilenets.specs.rows import BackboneSpec, Bottleneck, ResNetBottleneck, Row, Separable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW, EXPANSION, SIZE = 24, 6, 56
"""The drawn block of Figure 3: channels of its narrow maps, expansion ratio, side of its maps, px."""
GROUPED, SHUFFLED = 24, 240
"""Channels of ShuffleNet's units in Figure 4, before and after the first one with stride."""


def figure_3(_: Asked) -> Result:
    """A residual block, wide outside, beside an inverted residual, narrow outside."""
    wide = EXPANSION * NARROW
    rows: dict[str, tuple[Row, int]] = {
        "residual block": (ResNetBottleneck(NARROW, wide, activation="relu6"), wide),
        "inverted residual block": (Bottleneck(wide, NARROW), NARROW),
    }
    graphs = {name: _graph(row, c_in) for name, (row, c_in) in rows.items()}
    figure, _first = figure_of(8.6, 3.2, columns=2)
    for axes, (name, graph) in zip(figure.axes, graphs.items(), strict=True):
        _thick(axes, name, graph)
    residual, inverted = graphs.values()
    formula = SIZE * SIZE * NARROW * EXPANSION * (NARROW + 3 * 3 + NARROW)
    comparison = Comparison(
        "MACs of the inverted residual", formula / 1e6, inverted.macs / 1e6, "M", "V2, section 3.3: h w d' t (d' + k² + d'')"
    )
    held = [bottleneck_plan(graph, "fp16").peak_bytes / plan(graph, "fp16").peak_bytes for graph in graphs.values()]
    findings = (
        f"With the same channels, the residual block costs {residual.macs / inverted.macs:.1f} times the multiply-adds, "
        "because its inner convolution is a full one.",
        f"If the inner feature maps are never stored whole (section 5.1), the inverted block needs {held[1]:.0%} of the memory "
        f"that all its feature maps take, and the residual block {held[0]:.0%}.",
    )
    caption = (
        f"The height of a feature map is its number of channels, {NARROW} and {wide}, at {SIZE} x {SIZE} px. Hatched: no "
        "activation follows. The line at the top is the shortcut. Drawn from the layers that run."
    )
    columns = ("block", "layer", "operator", "channels", "params", "macs")
    table = [
        (name, layer.name, layer.operator, graph.shapes[layer.output][1], layer.params, layer.macs)
        for name, graph in graphs.items()
        for layer in graph.layers
    ]
    return Result(columns, table, figure, caption, (comparison,), findings)


def figure_4(_: Asked) -> Result:
    """The blocks of MobileNet, MobileNetV2, ShuffleNet and NASNet, operator by operator."""
    graphs = {
        "MobileNet": _graph(Separable(32), 32),
        "MobileNetV2, stride 1": _graph(Bottleneck(144, 24), 24),
        "MobileNetV2, stride 2": _graph(Bottleneck(144, 32, stride=2), 24),
        **_shuffle_units(),
        "NASNet-A": _nasnet_cell(),
    }
    figure, _first = figure_of(15, 6.4, columns=len(graphs))
    spec = figure.axes[0].get_gridspec()
    spec.set_width_ratios([1] * (len(graphs) - 1) + [4.6])  # type: ignore[union-attr]  # the figure has a grid
    deepest = max(max(_depths(graph).values()) for graph in graphs.values())
    for axes, (name, graph) in zip(figure.axes, graphs.items(), strict=True):
        _network(axes, name, graph, deepest)
    rows: list[tuple[Cell, ...]] = [
        (name, len(graph.layers), graph.params, graph.macs, *graph.shapes[0][1:]) for name, graph in graphs.items()
    ]
    most = max(graphs, key=lambda name: len(graphs[name].layers))
    findings = (
        f"{most}'s cell has {len(graphs[most].layers)} operators that a runtime runs one after the other, and MobileNetV2's "
        f"block has {len(graphs['MobileNetV2, stride 1'].layers)}. Table 4 shows what that costs in latency.",
    )
    caption = (
        "Every operator that runs, with the input at the top and batch norms and activations folded in. Blue: convolutions. "
        "Teal: depthwise convolutions. Orange: pooling. Violet: additions and concatenations."
    )
    return Result(("block", "operators", "params", "macs", "c_in", "height", "width"), rows, figure, caption, (), findings)


def _graph(row: Row, c_in: int) -> LayerGraph:
    whole = outline(BackboneSpec("block", (row,), in_channels=c_in), 1, SIZE, SIZE)
    layers = tuple(layer for layer in whole.layers if layer.block == 0)
    return LayerGraph(layers, whole.shapes, (layers[-1].output,))


def _shuffle_units() -> dict[str, LayerGraph]:
    import torch

    from mobilenets.analysis.trace import trace
    from mobilenets.science.peers.shufflenet import ShuffleUnit

    with torch.device("meta"):
        plain = ShuffleUnit(SHUFFLED, SHUFFLED, stride=1)
        strided = ShuffleUnit(GROUPED, SHUFFLED, stride=2)
    return {
        "ShuffleNet, stride 1": trace(plain, (1, SHUFFLED, SIZE // 2, SIZE // 2)),
        "ShuffleNet, stride 2": trace(strided, (1, GROUPED, SIZE, SIZE)),
    }


def _nasnet_cell() -> LayerGraph:
    """A normal cell, which reads the outputs of the two cells before it; here both are the same map."""
    import torch
    from torch import Tensor, nn

    from mobilenets.analysis.trace import trace
    from mobilenets.science.peers.nasnet import NasNetMobile

    class Cell(nn.Module):
        """A cell with one input."""

        def __init__(self, cell: nn.Module) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor) -> Tensor:
            """The cell's output."""
            out: Tensor = self.cell(x, x)
            return out

    with torch.device("meta"):
        cell = NasNetMobile().cells[3]
    channels = next(part.in_channels for part in cell.modules() if isinstance(part, nn.Conv2d))
    return trace(Cell(cell), (1, channels, SIZE // 2, SIZE // 2))


def _thick(axes: Axes, name: str, graph: LayerGraph) -> None:
    """Draw feature maps as bars whose height is their channels, from the input to the last convolution, and the shortcut."""
    from matplotlib.patches import Rectangle

    convolutions = [layer for layer in graph.layers if layer.window is not None]
    values = [graph.shapes[0][1], *(graph.shapes[layer.output][1] for layer in convolutions)]
    top = max(values)
    for i, channels in enumerate(values):
        linear = i in (0, len(values) - 1)
        box = Rectangle(
            (i - 0.22, -channels / 2),
            0.44,
            channels,
            facecolor=SURFACE if linear else ACCENT,
            edgecolor=ACCENT,
            alpha=1 if linear else 0.5,
            hatch="///" if linear else "",
        )
        axes.add_patch(box)
        axes.text(i, -channels / 2 - 0.05 * top, str(channels), ha="center", va="top", fontsize=8, color=INK)
        if i:
            axes.annotate("", (i - 0.24, 0), (i - 0.76, 0), arrowprops={"arrowstyle": "->", "color": MUTED})
            axes.text(i - 0.5, 0.05 * top, convolutions[i - 1].operator.replace(" ", "\n"), ha="center", fontsize=7, color=INK)
    last, height = len(values) - 1, 0.62 * top
    axes.plot([0, 0, last, last], [values[0] / 2, height, height, values[-1] / 2], "-", color=PURPLE, linewidth=1.5)
    axes.text(last / 2, height, "shortcut", ha="center", va="bottom", fontsize=8, color=PURPLE)
    axes.set(xlim=(-0.6, last + 0.6), ylim=(-0.7 * top, 0.8 * top))
    axes.set_title(name, fontsize=10, color=INK)
    axes.axis("off")


COLORS = {"conv": ACCENT, "depthwise": TEAL, "pool": AMBER, "add": PURPLE, "concat": PURPLE}


def _depths(graph: LayerGraph) -> dict[int, int]:
    """The number of operators on the longest path from the input to each value."""
    depth = {0: 0}
    for layer in graph.layers:
        depth[layer.output] = 1 + max(depth[value] for value in layer.inputs)
    return depth


def _network(axes: Axes, name: str, graph: LayerGraph, deepest: int) -> None:
    """Draw every operator as a box at its depth, with lines to its inputs; `deepest` is the lowest level of the plot."""
    depth = _depths(graph)
    levels = defaultdict(list)
    for value, level in depth.items():
        levels[level].append(value)
    place = {value: (i + 0.5 - len(values) / 2, -level) for level, values in levels.items() for i, value in enumerate(values)}
    for layer in graph.layers:
        for value in layer.inputs:
            start, end = place[value], place[layer.output]
            around = start[0] == end[0] and depth[layer.output] - depth[value] > 1  # a shortcut past what stands between
            bend = f"arc3,rad={0.45 if around else 0}"
            arrow = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "connectionstyle": bend, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", end, start, arrowprops=arrow, zorder=1)
    words = {0: ("input", MUTED), **{layer.output: (_words(layer), COLORS.get(layer.kind, MUTED)) for layer in graph.layers}}
    for value, (text, color) in words.items():
        x, y = place[value]
        box = {"boxstyle": "round,pad=0.25", "facecolor": SURFACE, "edgecolor": color, "linewidth": 1.2}
        axes.text(x, y, text, ha="center", va="center", fontsize=6, color=INK, bbox=box, zorder=2)
    widest = max(len(values) for values in levels.values())
    axes.set(xlim=(-widest / 2 - 0.1, widest / 2 + 0.1), ylim=(-deepest - 0.6, 0.6))
    axes.set_title(name, fontsize=8, color=INK)
    axes.axis("off")


def _words(layer: Layer) -> str:
    return layer.operator.replace("depthwise ", "dw ")

"""Drawings of each network's memory plan: the position and lifetime of each value in the arena (V2, section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mobilenets.deploy.arena import Arena, blocks, fused_plan, plan
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.reports.plots import ACCENT, AMBER, INK, MUTED, SURFACE, TEAL, figure_of
from mobilenets.science.entry import Asked, Cell, Result
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
"""Of the drawing."""
CLASSES = 21
"""Classes of all heads, including the classifiers', whose logits are small compared to any feature map."""


def arenas(asked: Asked) -> Result:
    """The arena of each network, operator by operator and row by row."""
    from mobilenets.exporters.lower import lower
    from mobilenets.model import create

    specs = _networks()
    plans: dict[str, tuple[Graph, Arena, Arena]] = {}
    with asked.telling.progress("planning networks", len(specs)) as advance:
        for name, spec in specs.items():
            graph = lower(create(spec))
            plans[name] = graph, plan(graph), fused_plan(graph)
            advance(1)
    figure, _ = figure_of(10.5, 12.5, columns=COLUMNS, rows=2 * -(-len(plans) // COLUMNS))
    for i, (name, (graph, whole, rows)) in enumerate(plans.items()):
        above = 2 * COLUMNS * (i // COLUMNS) + i % COLUMNS  # the first plan of a network, and the second below it
        in_floats = {value: life.size_bytes for value, life in whole.lives.items()}
        for at, arena, steps in ((above, whole, len(graph.operators)), (above + COLUMNS, rows, len(blocks(graph)))):
            axes = figure.axes[at]
            _draw(axes, arena, in_floats, steps)
            axes.set_ylim(0, 1.04 * max(whole.size_bytes, rows.size_bytes) / 1e6)
            axes.set_ylabel("MB")
            axes.set_title("operator by operator" if at == above else "row by row", fontsize=8, color=MUTED, loc="right")
        figure.axes[above].set_title(name, fontsize=10, color=INK, loc="left")
    table: list[tuple[Cell, ...]] = [
        (name, specs[name].input.size, whole.size_bytes, rows.size_bytes, rows.size_bytes / whole.size_bytes)
        for name, (_, whole, rows) in plans.items()
    ]
    shares = {str(line[0]): float(line[4] or 0) for line in table}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    findings = (
        f"Row by row, {least} takes {shares[least]:.0%} of the memory that it takes operator by operator; {most} takes "
        f"{shares[most]:.0%}.",
        f"V2 at 224 px: {table[1][2] / 1e6:.2f} MB operator by operator, {table[1][3] / 1e6:.2f} MB row by row, "  # type: ignore[operator]  # both are numbers
        "in 32-bit floats, including the image.",
    )
    caption = (
        "Horizontal: the steps from first to last, each an operator or a block. Vertical: the arena, with the same scale for "
        "both plans of a network. A box is a value while it is alive. Orange: the image. Blue: values kept whole. Teal: "
        "feature maps inside a block, of which only some rows are kept. Dashed: the size of the arena."
    )
    return Result(("network", "size", "layers_bytes", "row_by_row_bytes", "share"), table, figure, caption, (), findings)


def _networks() -> dict[str, ModelSpec]:
    labels = tuple(str(i) for i in range(CLASSES))
    classifiers = {
        "V1": "mobilenet_v1",
        "V2": "mobilenet_v2",
        "V3-Large": "mobilenet_v3_large",
        "V3-Small": "mobilenet_v3_small",
        "V4-Conv-S": "mobilenet_v4_conv_small",
        "V4-Hybrid-M": "mobilenet_v4_hybrid_medium",
    }
    v2, v3 = backbone("mobilenet_v2"), backbone("mobilenet_v3_large")
    return {
        **{name: ModelSpec(backbone(model), labels, InputContract(size=224)) for name, model in classifiers.items()},
        "SSDLite V3, 320 px": ssdlite(v3, labels, size=320),
        "DeepLabv3 V2, 513 px": deeplab(v2, labels, size=513),
        "LR-ASPP V3, 512 px": lraspp(v3, labels, size=512),
    }


def _draw(axes: Axes, arena: Arena, whole: Mapping[str, int], steps: int) -> None:
    """Draw every value as a box: its lifetime on the x axis, its place in memory on the y axis."""
    from matplotlib.patches import Rectangle

    for name, life in arena.lives.items():
        color = AMBER if name == INPUT else ACCENT if life.size_bytes == whole[name] else TEAL
        corner = life.first - 0.5, arena.offsets[name] / 1e6
        size = life.last - life.first + 1, life.size_bytes / 1e6
        axes.add_patch(Rectangle(corner, *size, facecolor=color, alpha=0.6, edgecolor=SURFACE, linewidth=0.4))
    axes.axhline(arena.size_bytes / 1e6, color=MUTED, linestyle="--", linewidth=0.9)
    axes.set_xlim(-1.6, steps - 0.4)
    axes.set_xticks([])
    axes.grid(visible=False)

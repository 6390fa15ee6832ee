"""What separable convolutions save (V1, section 3.1)."""

from __future__ import annotations

from mobilenets.analysis.outline import outline
from mobilenets.reports.plots import color_cycle, figure_of, legend_above
from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Conv, Row, Separable

CHANNELS = (8, 16, 32, 64, 128, 256, 512, 1024)
KERNELS = (3, 5, 7)
C_IN, SIZE = 32, 14  # the share does not depend on these


def equation_5(_: Asked) -> Result:
    """The cost of a separable convolution as a share of a full one's, counted layer by layer, beside 1/N + 1/k²."""
    rows = [(k, n, 1 / n + 1 / k**2, share(n, k)) for k in KERNELS for n in CHANNELS]
    figure, axes = figure_of(6.4, 3.8)
    for k, color in zip(KERNELS, color_cycle(len(KERNELS)), strict=True):
        own = [row for row in rows if row[0] == k]
        axes.plot(CHANNELS, [formula for _, _, formula, _ in own], "-", color=color, label=f"1/N + 1/{k}²")
        axes.plot(CHANNELS, [counted for _, _, _, counted in own], "o", color=color, label=f"counted, {k} x {k}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(CHANNELS, [str(n) for n in CHANNELS])
    axes.set_xlabel("output channels N")
    axes.set_ylabel("MACs, share of a full convolution")
    legend_above(axes, 3)
    savings = [1 / share(row.c_out, row.kernel) for row in backbone("mobilenet_v1").rows if isinstance(row, Separable)]
    source = "V1, section 3.1: 'between 8 to 9 times less computation'"
    comparisons = (
        Comparison("smallest saving in a layer of V1", 8, min(savings), "times", source, "the first layer, with 64 channels"),
        Comparison("largest saving in a layer of V1", 9, max(savings), "times", source),
    )
    worst = max(abs(counted / formula - 1) for _, _, formula, counted in rows)
    return Result(
        ("kernel", "output_channels", "formula", "counted"),
        rows,
        figure,
        "Lines: the equation. Dots: multiply-adds counted on single layers of the package.",
        comparisons,
        (
            f"Over {len(rows)} pairs of kernel and channels, the count differs from the equation by a relative "
            f"{worst:.1g} at most.",
        ),
    )


def share(channels: int, kernel: int) -> float:
    """MACs of a separable convolution as a share of those of a full one with as many output channels."""
    return _macs(Separable(channels, kernel=kernel)) / _macs(Conv(channels, kernel=kernel))


def _macs(row: Row) -> int:
    graph = outline(BackboneSpec("one_row", (row,), in_channels=C_IN), 1, SIZE, SIZE)
    return sum(layer.macs for layer in graph.layers if layer.block == 0)

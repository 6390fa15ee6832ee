"""The roofline of `roofline.py` as a picture: multiply-adds per byte against multiply-adds per second, a dot for each block."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, log, prod
from typing import TYPE_CHECKING

from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.operators import Weighted
from mobilenets.reports.plots import ACCENT, INK, MUTED, WRONG, figure_of
from mobilenets.science.draw import plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Shares = dict[int, tuple[float, float]]  # of each block: multiply-adds and seconds
Columns = Mapping[
    str, tuple[Shares, float]
]  # by precision: the blocks, and the multiply-adds a second of one large convolution

OUTSIDE = "pool and classes"
"""What the row of what is in no block is called; its index is -1."""

BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}
"""Of a weight or a value. The image is in 32-bit floats whatever the precision."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A block in the picture.

    Args:
        block: its index; -1 for what is in none.
        intensity: multiply-adds for each byte that it reads or writes.
        macs_per_s: multiply-adds a second.
    """

    block: int
    intensity: float
    macs_per_s: float

    @property
    def bytes_per_s(self) -> float:
        """What it moves in a second."""
        return self.macs_per_s / self.intensity


def moved(graph: Graph, number_bytes: int) -> dict[int, int]:
    """The bytes that each block moves when it runs as one: its weights, what it reads of others, and what they read of it.

    Args:
        graph: in floats.
        number_bytes: of a weight or a value.
    """
    shapes, home = graph.shapes(), {name: operator.block for operator in graph.operators for name in operator.made}
    total = dict.fromkeys(home.values(), 0)
    for operator in graph.operators:
        if isinstance(operator, Weighted):
            total[operator.block] += number_bytes * sum(graph.tensors[name].size for name in (operator.weight, operator.bias))
    read = {(name, operator.block) for operator in graph.operators for name in operator.inputs}
    for name, block in read:
        if home.get(name) != block:
            total[block] += prod(shapes[name]) * (BYTES["float32"] if name == INPUT else number_bytes)
    for name, block in home.items():
        if name in graph.outputs.values() or any(value == name and reader != block for value, reader in read):
            total[block] += prod(shapes[name]) * number_bytes
    return total


def dots_of(made: Shares, bytes_of: Mapping[int, int]) -> list[Dot]:
    """The blocks of one precision."""
    return [Dot(block, macs / bytes_of[block], macs / seconds) for block, (macs, seconds) in made.items()]


def drawn(columns: Columns, network: Graph) -> Figure:
    """A panel for each precision.

    The flat roof is the speed of one large convolution. The slanted one is the most bytes a second that a block moved: no
    other measurement of the memory is needed, and none of one machine stands beside times of another.
    """
    figure, _ = figure_of(11, 4, columns=len(columns))
    dots = {precision: dots_of(made, moved(network, BYTES[precision])) for precision, (made, _) in columns.items()}
    everything = [dot for each in dots.values() for dot in each]
    left, right = min(dot.intensity for dot in everything) / 1.5, max(dot.intensity for dot in everything) * 2
    lowest, highest = min(dot.macs_per_s for dot in everything), max(peak for _, peak in columns.values())
    for axes, (precision, (_, peak)) in zip(figure.axes, columns.items(), strict=True):
        _draw(axes, dots[precision], peak, (left, right))
        axes.set_xlim(left, right)
        axes.set_ylim(lowest / 1.5e9, 1.6 * highest / 1e9)
        plain_ticks(axes.yaxis, lowest / 1e9, highest / 1e9)
        axes.set_title(precision, fontsize=10, color=INK, loc="left")
    figure.axes[0].set_ylabel("GMAC/s")
    return figure


def alone(dots: Sequence[Dot]) -> list[Dot]:
    """Those that have room for a name beside them: no other dot is within a third."""
    return [dot for dot in dots if not any(_near(dot, other) for other in dots if other is not dot)]


def _near(dot: Dot, other: Dot) -> bool:
    return hypot(log(dot.intensity / other.intensity), log(dot.macs_per_s / other.macs_per_s)) < log(4 / 3)


def _draw(axes: Axes, dots: Sequence[Dot], peak: float, reach: tuple[float, float]) -> None:
    left, right = reach
    memory = max(dot.bytes_per_s for dot in dots)
    ridge = peak / memory
    axes.plot([left, ridge], [left * memory / 1e9, peak / 1e9], color=WRONG, linewidth=1.4)
    axes.plot([ridge, right], [peak / 1e9, peak / 1e9], color=WRONG, linewidth=1.4)
    axes.plot(
        [dot.intensity for dot in dots], [dot.macs_per_s / 1e9 for dot in dots], "o", color=ACCENT, markersize=5, alpha=0.7
    )
    for dot in alone(dots):
        name = OUTSIDE if dot.block < 0 else str(dot.block)
        at = dot.intensity, dot.macs_per_s / 1e9
        axes.annotate(name, at, xytext=(2, -10), textcoords="offset points", fontsize=7, color=MUTED)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes.xaxis, left * 1.6, right / 1.6)
    axes.set_xlabel(f"MACs per byte; {peak / 1e9:.0f} GMAC/s, {memory / 1e9:.0f} GB/s")


def read_columns(text: str) -> dict[str, tuple[Shares, float]]:
    """What `roofline.py` has printed, or a page that shows it: the line of speeds, and the table.

    Raises:
        ValueError: the text has no such table.
    """
    peaks = {precision: 1e9 * float(peak) for precision, peak in re.findall(r"(\w+): ([\d.]+) GMAC/s", text)}
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("| ")]
    head = next((i for i, row in enumerate(rows) if row[:2] == ["block", "MMAC"]), None)
    if head is None or not peaks:
        raise ValueError("there is no line with GMAC/s, or no table that begins with | block | MMAC |")
    found: dict[str, tuple[Shares, float]] = {}
    for column, title in enumerate(rows[head]):
        precision = title.removesuffix(", µs")
        if precision != title:
            found[precision] = ({}, peaks[precision])
            for name, macs, *cells in rows[head + 1 :]:
                if name == "all":
                    break
                block = -1 if name == OUTSIDE else int(name.partition(",")[0])
                found[precision][0][block] = float(macs) * 1e6, float(cells[column - 2].replace(",", "")) / 1e6
    return found

"""The plots of a report, as matplotlib figures that become PNG files or SVG that follows the page's colors."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class Bars(Protocol):
    """How one class fares."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def precision(self) -> float:
        """Share of what was called so that is."""
        ...

    @property
    def recall(self) -> float:
        """Share of what is that was found."""
        ...

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        ...

    @property
    def support(self) -> int:
        """How many there truly are."""
        ...


INK, MUTED, LINE, SURFACE, ACCENT, WRONG = "#1b2333", "#69728a", "#dfe4ee", "#fefefe", "#2f6fe4", "#d8503f"
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", SURFACE: "--surface", ACCENT: "--accent", WRONG: "--wrong"}
CELLS_WITH_NUMBERS, CELLS_WITH_LABELS, BARS = 20, 60, 24


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and what it shows.

    Args:
        name: of its file.
        title, caption: for the page.
        figure: drawn with the colors of `VARIABLES`.
        wide: whether it needs the whole width of the page.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    wide: bool = False


def confusion(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """True labels down, predicted labels across.

    Args:
        counts: `[true label, predicted label]`, square.
        rows, columns: names.
    """
    classes = len(rows)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(9.0, max(3.6, 2.2 + 0.42 * classes))
    figure, axes = figure_of(side, side)
    color = [int(ACCENT[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    cells = np.concatenate([np.broadcast_to(color, (classes, classes, 3)), shares[:, :, np.newaxis]], axis=2)
    axes.imshow(cells, interpolation="nearest", aspect="equal")
    if classes <= CELLS_WITH_NUMBERS:
        for (i, j), count in np.ndenumerate(counts):
            if count or classes < 6:
                tone = "white" if shares[i, j] > 0.55 else INK
                share = f"\n{shares[i, j]:.0%}" if classes < 6 else ""
                axes.text(j, i, f"{count:,}{share}", ha="center", va="center", color=tone, fontsize=9 if classes < 12 else 7)
    if classes <= CELLS_WITH_LABELS:
        places = range(classes)
        size = 9 if classes <= CELLS_WITH_NUMBERS else 5
        across, down = ([short(label) for label in names] for names in (columns, rows))
        axes.set_xticks(
            places, across, rotation=0 if classes < 4 else 45, ha="center" if classes < 4 else "right", fontsize=size
        )
        axes.set_yticks(places, down, fontsize=size)
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=LINE, linewidth=0.8)
    axes.grid(visible=False, which="major")
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_color(LINE)
        spine.set_visible(True)
    return figure


def class_bars(classes: Sequence[Bars]) -> Figure:
    """F1 of each class that occurs, with precision and recall marked; the lowest ones where there are many."""
    rows = [row for row in classes if row.support]
    if len(rows) > BARS:
        rows = sorted(rows, key=lambda row: row.f1)[:BARS]
    names = [f"{short(row.label)} ({row.support})" for row in rows]
    precision, recall = [row.precision for row in rows], [row.recall for row in rows]
    return bars_with_marks(names, ("F1", [row.f1 for row in rows]), precision=precision, recall=recall)


def bars_with_marks(
    names: Sequence[str], bars: tuple[str, Sequence[float]], *, precision: Sequence[float], recall: Sequence[float]
) -> Figure:
    """A bar for each name, from above, with its precision and recall marked.

    Args:
        names: at the bars.
        bars: what they show, and how long they are, 0 to 1.
        precision, recall: of each, 0 to 1.
    """
    figure, axes = figure_of(5.6, 1.5 + 0.32 * len(names))
    places = np.arange(len(names))[::-1]
    axes.barh(places, bars[1], height=0.62, color=ACCENT, alpha=0.55, label=bars[0])
    axes.plot(precision, places, "o", color=INK, markersize=5, label="precision")
    axes.plot(recall, places, "D", color=WRONG, markersize=4.5, label="recall")
    axes.set_yticks(places, names)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    percent(axes, "x")
    legend_above(axes, 3)
    return figure


def curves(panels: Sequence[tuple[str, Sequence[tuple[str, Sequence[float], Sequence[float]]]]]) -> Figure:
    """Learning curves.

    Args:
        panels: title and lines of each; a line is its name, its x values (epochs) and its y values.
    """
    figure, first = figure_of(4.3 * len(panels), 3.5, columns=len(panels))
    for axes, (title, lines) in zip(figure.axes or [first], panels, strict=True):
        for (name, x, y), color, style in zip(lines, color_cycle(len(lines)), line_styles(len(lines)), strict=True):
            axes.plot(x, y, style, color=color, linewidth=1.8, marker="o" if len(x) < 3 else None, label=name)
        axes.set_title(title, color=INK, fontsize=10, loc="left", weight="bold")
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG on a light ground, 144 px per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor=SURFACE)
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element whose colors are the page's CSS variables and whose ids begin with `name`."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", text)


def figure_of(width: float, height: float, *, columns: int = 1) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` inches with bare axes, and the first of them."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes in np.atleast_1d(figure.subplots(1, columns)):
        axes.set_facecolor("none")
        axes.grid(color=LINE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(LINE)
    return figure, figure.axes[0]


def percent(axes: Axes, which: str) -> None:
    """Ticks of an axis, "x" or "y", from 0% to 100%."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])


def legend_above(axes: Axes, columns: int) -> None:
    """The legend, above the plot."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def color_cycle(count: int) -> list[str]:
    """Colors of lines."""
    return [(ACCENT, WRONG, MUTED, INK)[i % 4] for i in range(count)]


def line_styles(count: int) -> list[str]:
    """Styles of lines: those with a color that was there before are broken."""
    return ["-" if i < 4 else "--" for i in range(count)]


def short(label: str, most: int = 24) -> str:
    """The label, cut after `most` characters."""
    return label if len(label) <= most else label[: most - 1] + "…"

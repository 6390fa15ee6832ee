"""The plots of a report, as matplotlib figures that become PNG files, or SVG with the page's colors."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import MissingExtraError
from mobilenets.reports.escape import printable
from mobilenets.reports.history import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class Bars(Protocol):
    """Precision, recall and F1 of one class."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def precision(self) -> float:
        """Share of the predictions of this class that are right."""
        ...

    @property
    def recall(self) -> float:
        """Share of this class that was found."""
        ...

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        ...

    @property
    def support(self) -> int:
        """Number of items that truly belong to this class."""
        ...


INK, MUTED, LINE, SURFACE, ACCENT, WRONG = "#1b2333", "#5f6880", "#dfe4ee", "#fefefe", "#2f6fe4", "#c23a29"
TEAL, PURPLE, AMBER, ROSE = "#0f9488", "#8651d4", "#b07a12", "#b0508f"

# fmt: off
VARIABLES = {
    INK: "--ink", MUTED: "--muted", LINE: "--line", SURFACE: "--surface", ACCENT: "--accent", WRONG: "--wrong",
    TEAL: "--teal", PURPLE: "--purple", AMBER: "--amber", ROSE: "--rose",
}
# fmt: on

SERIES = (ACCENT, TEAL, PURPLE, AMBER, ROSE)
"""Colors of classes and curves. `WRONG` is not among them, because it always means a mistake."""
CELLS_WITH_NUMBERS, CELLS_WITH_LABELS, BARS = 20, 60, 24

MATRIX = "confusion"
"""The name of the plot with clickable cells."""

DEPTH = 0.55
"""Opacity of a full cell with a number: in light and dark mode, the number has a contrast of 4.5 to its cell (WCAG 1.4.3)."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and what it shows.

    Args:
        name: name of its file.
        title, caption: texts for the page.
        figure: the figure, drawn with the colors of `VARIABLES`.
        wide: whether it needs the whole width of the page.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    wide: bool = False


def confusion(
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    opened: Collection[tuple[int, int]] = (),
) -> Figure:
    """The confusion matrix, with true labels down and predicted labels across. Right cells are blue, wrong cells red.

    Args:
        counts: `[true label, predicted label]`, square.
        shares: color intensity of each cell, 0 to 1.
        rows, columns: labels; a cell is right if its row and column have the same label.
        opened: row and column of the cells that link to images.
    """
    classes = len(rows)
    side = min(9.0, max(3.6, 2.2 + 0.42 * classes))
    figure, axes = figure_of(side, side)
    if classes <= CELLS_WITH_NUMBERS:
        _number_cells(axes, counts, shares, rows, columns, opened)
    else:
        right = np.array([[row == column for column in columns] for row in rows])
        colors = np.where(right[..., np.newaxis], _rgb(ACCENT), _rgb(WRONG))
        cells = np.concatenate([colors, shares[:, :, np.newaxis]], axis=2)
        axes.imshow(cells, interpolation="nearest", aspect="equal")
    if classes <= CELLS_WITH_LABELS:
        ticks = range(classes)
        size = 9 if classes <= CELLS_WITH_NUMBERS else 5
        across, down = ([short(label) for label in names] for names in (columns, rows))
        axes.set_xticks(
            ticks, across, rotation=0 if classes < 4 else 45, ha="center" if classes < 4 else "right", fontsize=size
        )
        axes.set_yticks(ticks, down, fontsize=size)
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


def cell_id(i: int, j: int) -> str:
    """The id of the images behind a cell; on the page, it is prefixed with the plot's name."""
    return f"cell-{i}-{j}"


def _number_cells(
    axes: Axes,
    counts: NDArray[np.int64],
    shares: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    opened: Collection[tuple[int, int]],
) -> None:
    """Cells as rectangles with their counts, and with a link if there are images to look at."""
    from matplotlib.patches import Rectangle

    classes = len(rows)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    for (i, j), count in np.ndenumerate(counts):
        color = ACCENT if rows[i] == columns[j] else WRONG
        strength = float(shares[i, j])
        cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=color, alpha=DEPTH * strength, linewidth=0)
        share = f"\n{strength:.0%}" if classes < 6 else ""
        text = axes.text(j, i, "", ha="center", va="center", color=INK, fontsize=9 if classes < 12 else 7)
        if count or (classes < 6 and not (rows[i] not in columns and columns[j] not in rows)):
            text.set_text(f"{count:,}{share}")
        if (i, j) in opened:
            cell.set_url(f"#{cell_id(i, j)}")
            text.set_url(f"#{cell_id(i, j)}")
        axes.add_patch(cell)


def class_bars(classes: Sequence[Bars]) -> Figure:
    """F1 of each class that occurs, with precision and recall marked; if there are many classes, only the lowest ones."""
    rows = [row for row in classes if row.support]
    if len(rows) > BARS:
        rows = sorted(rows, key=lambda row: row.f1)[:BARS]
    names = [f"{short(row.label)} ({row.support})" for row in rows]
    precision, recall = [row.precision for row in rows], [row.recall for row in rows]
    return bars_with_marks(names, ("F1", [row.f1 for row in rows]), precision=precision, recall=recall)


def bars_with_marks(
    names: Sequence[str], bars: tuple[str, Sequence[float]], *, precision: Sequence[float], recall: Sequence[float]
) -> Figure:
    """One bar per name, from top to bottom, with precision and recall marked.

    Args:
        names: names of the bars.
        bars: lengths of the bars, 0 to 1, and what they show.
        precision, recall: values of each bar, 0 to 1.
    """
    figure, axes = figure_of(5.6, 1.5 + 0.32 * len(names))
    positions = np.arange(len(names))[::-1]
    axes.barh(positions, bars[1], height=0.62, color=ACCENT, alpha=0.55, label=bars[0])
    axes.plot(precision, positions, "o", color=INK, markersize=5, label="precision")
    axes.plot(recall, positions, "D", color=PURPLE, markersize=4.5, label="recall")
    axes.set_yticks(positions, names)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    percent(axes, "x")
    legend_above(axes, 3)
    return figure


def curves(panels: Sequence[Panel]) -> Figure:
    """Learning curves. The one that selects the best checkpoint is thick, with a mark at its best epoch."""
    figure, first = figure_of(4.3 * len(panels), 3.5, columns=len(panels))
    for axes, panel in zip(figure.axes or [first], panels, strict=True):
        count = len(panel.lines)
        for line, color, style in zip(panel.lines, color_cycle(count), line_styles(count), strict=True):
            width, strength = (2.4, 1.0) if line.picks or count < 3 else (1.4, 0.75)
            marker = "o" if len(line.x) < 3 else None
            name = f"{line.name} (picks the checkpoint)" if line.picks and count > 1 else line.name
            axes.plot(
                line.x,
                line.y,
                style,
                color=color,
                linewidth=width,
                alpha=strength,
                marker=marker,
                label=name,
                zorder=3 if line.picks else 2,
            )
            if line.picks:
                best = int(np.argmax(line.y))
                axes.plot(line.x[best], line.y[best], "o", color=color, markersize=7)
        axes.set_title(panel.title, color=INK, fontsize=10, loc="left", weight="bold")
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        if panel.shares:
            percent_scale(axes)
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG with a light background, at 144 px per inch."""
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
    text = re.sub(r'<a xlink:href="(#[^"]*)" target="_blank">', r'<a href="\1">', text)  # link to a place on the same page
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", text)


def figure_of(width: float, height: float, *, columns: int = 1, rows: int = 1) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` inches with plain axes, row by row; returns it with the first axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes in np.atleast_1d(figure.subplots(rows, columns)).flat:
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
    """Show ticks of an axis, "x" or "y", from 0% to 100%."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])


def percent_scale(axes: Axes) -> None:
    """Show ticks of the y axis as percentages, whatever its range."""
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))


def legend_above(axes: Axes, columns: int) -> None:
    """Put the legend above the plot, if anything is drawn."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def color_cycle(count: int) -> list[str]:
    """Colors of classes and curves; never the color of mistakes."""
    return [SERIES[i % len(SERIES)] for i in range(count)]


def line_styles(count: int) -> list[str]:
    """Styles of lines: a line whose color was already used is dashed."""
    return [("-", "--", ":")[i // len(SERIES) % 3] for i in range(count)]


def short(label: str, most: int = 24) -> str:
    """The label, cut after `most` characters, without control characters, and escaped so that matplotlib sees no formula."""
    text = printable(label).replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"


def _rgb(color: str) -> NDArray[np.float64]:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])

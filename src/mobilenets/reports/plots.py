"""The plots of a report, as matplotlib figures that become PNG files or SVG that follows the page's colors."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import MissingExtraError
from mobilenets.runtime import metrics
from mobilenets.runtime.evaluation import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def plots(report: Report) -> Iterator[Plot]:
    """The plots that make sense for a report.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    many = len(report.labels) > 8
    note = "Share of each true class, by row, that was given each label."
    yield Plot("confusion", "Confusion matrix", note, confusion(report), wide=many)
    if report.positive is not None:
        note = f"True against false positives for '{report.labels[1]}' as the threshold falls."
        yield Plot("roc", "ROC curve", note, roc(report))
    if len(report.labels) > 2:
        which = f"The {BARS} classes with the lowest F1. " if len(report.labels) > BARS else ""
        yield Plot("classes", "Classes", f"{which}Bar: F1; marks: precision and recall.", class_bars(report), wide=many)
    note = f"Accuracy beside score, {len(report.reliability)} bins. On the diagonal a score of 80% is right in 80 of 100 cases."
    yield Plot("reliability", "Do scores mean what they say?", note, reliability(report))
    yield Plot("scores", "Scores", "How sure the model is where it is right and where it is wrong.", scores(report))


def confusion(report: Report) -> Figure:
    """True labels down, predicted labels across."""
    classes = len(report.labels)
    counts = report.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(9.0, max(3.6, 2.2 + 0.42 * classes))
    figure, axes = _figure(side, side)
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
        names = [_short(label) for label in report.labels]
        axes.set_xticks(
            places, names, rotation=0 if classes < 4 else 45, ha="center" if classes < 4 else "right", fontsize=size
        )
        axes.set_yticks(places, names, fontsize=size)
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


def class_bars(report: Report) -> Figure:
    """F1 of each class, with precision and recall marked; the lowest ones where there are many."""
    rows = [row for row in report.classes if row.support]
    if len(rows) > BARS:
        rows = sorted(rows, key=lambda row: row.f1)[:BARS]
    figure, axes = _figure(5.6, 1.5 + 0.32 * len(rows))
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [row.f1 for row in rows], height=0.62, color=ACCENT, alpha=0.55, label="F1")
    axes.plot([row.precision for row in rows], places, "o", color=INK, markersize=5, label="precision")
    axes.plot([row.recall for row in rows], places, "D", color=WRONG, markersize=4.5, label="recall")
    axes.set_yticks(places, [f"{_short(row.label)} ({row.support})" for row in rows])
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    _percent(axes, "x")
    _legend_above(axes, 3)
    return figure


def reliability(report: Report) -> Figure:
    """Accuracy in bins of score, beside the diagonal."""
    bins = report.reliability
    figure, axes = _figure(4.6, 4.2)
    largest = max(one.count for one in bins)
    for one in bins:
        if one.count:
            width = one.high - one.low
            alpha = 0.3 + 0.6 * one.count / largest
            axes.bar(one.low, one.accuracy, width * 0.94, align="edge", color=ACCENT, alpha=alpha)
            axes.plot([one.low + width * 0.1, one.high - width * 0.1], [one.score, one.score], color=WRONG, linewidth=1.8)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    axes.plot([], [], color=WRONG, linewidth=1.8, label="mean score of the bin")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score", ylabel="accuracy")
    _percent(axes, "x")
    _percent(axes, "y")
    _legend_above(axes, 1)
    return figure


def scores(report: Report) -> Figure:
    """Histogram of the highest scores, right and wrong predictions stacked."""
    correct = report.predicted == report.truth
    figure, axes = _figure(4.6, 4.2)
    edges = np.linspace(0, 1, 26).tolist()
    parts = [report.confidence[correct], report.confidence[~correct]]
    names = [f"right ({int(correct.sum()):,})", f"wrong ({int((~correct).sum()):,})"]
    axes.hist(parts, bins=edges, stacked=True, color=[ACCENT, WRONG], label=names, rwidth=0.9)
    axes.set(xlim=(0, 1), xlabel="score", ylabel="pictures")
    _percent(axes, "x")
    _legend_above(axes, 2)
    return figure


def roc(report: Report) -> Figure:
    """True-positive against false-positive rate for the second of two labels."""
    positive = report.truth == 1
    false_rate, true_rate = metrics.roc_curve(positive, report.scores[:, 1])
    figure, axes = _figure(4.6, 4.2)
    axes.fill_between(false_rate, true_rate, color=ACCENT, alpha=0.12, linewidth=0)
    axes.plot(false_rate, true_rate, color=ACCENT, linewidth=2)
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1)
    called = report.predicted == 1
    point = (called[~positive].mean(), called[positive].mean())
    axes.plot(*point, "o", color=WRONG, markersize=7, label="as it predicts now")
    axes.text(0.96, 0.06, f"AUC {report.metric('roc_auc').value:.3f}", ha="right", color=INK, fontsize=13, weight="bold")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="false-positive rate", ylabel="true-positive rate")
    _percent(axes, "x")
    _percent(axes, "y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.12), frameon=False, labelcolor=INK, fontsize=9)
    return figure


def curves(panels: Sequence[tuple[str, Sequence[tuple[str, Sequence[float], Sequence[float]]]]]) -> Figure:
    """Learning curves.

    Args:
        panels: title and lines of each; a line is its name, its x values (epochs) and its y values.
    """
    figure, first = _figure(4.3 * len(panels), 3.5, columns=len(panels))
    for axes, (title, lines) in zip(figure.axes or [first], panels, strict=True):
        for (name, x, y), color, style in zip(lines, _cycle(len(lines)), _styles(len(lines)), strict=True):
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


def _figure(width: float, height: float, *, columns: int = 1) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` inches with bare axes, and the first of them."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
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


def _percent(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def _cycle(count: int) -> list[str]:
    return [(ACCENT, WRONG, MUTED, INK)[i % 4] for i in range(count)]


def _styles(count: int) -> list[str]:
    return ["-" if i < 4 else "--" for i in range(count)]


def _short(label: str, most: int = 24) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"

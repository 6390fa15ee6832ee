"""Writes a comparison of models as a table, a plot, JSON, Markdown and a single HTML file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.data.text import counted
from mobilenets.documents import finite
from mobilenets.evaluation.compare import Compared, Comparison
from mobilenets.evaluation.intervals import Interval
from mobilenets.files import write_bytes, write_text
from mobilenets.reports import plots, words
from mobilenets.reports.escape import markdown
from mobilenets.reports.html import render
from mobilenets.reports.plots import ACCENT, INK, MUTED, WRONG, figure_of, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 25
"""Width of an interval that is drawn as text, in characters."""


def columns(comparison: Comparison) -> tuple[str, ...]:
    """The heads of the table's columns."""
    first = comparison.rows[0].name
    return ("model", comparison.title, "95% interval", f"difference from {short(first, 20)}", "95% interval", "p", "verdict")


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The table: one line per model."""
    return [
        (
            row.name,
            _value(comparison, row.value),
            _interval(comparison, row.interval),
            _difference(comparison, row.difference) if row.verdict else "",
            _interval(comparison, row.paired, signed=True),
            _p(row.p),
            row.verdict,
        )
        for row in comparison.rows
    ]


def bars(comparison: Comparison) -> list[tuple[str, str]]:
    """Each difference drawn as text: the interval as a line, the difference as a dot, and a mark at 0."""
    known = [row.paired for row in comparison.rows if row.paired is not None and row.paired.known]
    low, high = (min([0.0, *(interval.low for interval in known)]), max([0.0, *(interval.high for interval in known)]))
    spread = max(high - low, 1e-9)

    def column_of(value: float) -> int:
        return min(WIDTH - 1, max(0, round((value - low) / spread * (WIDTH - 1))))

    drawn = []
    for row in comparison.rows:
        cells = [" "] * WIDTH
        cells[column_of(0)] = "│"
        if row.paired is not None and row.paired.known:
            for i in range(column_of(row.paired.low), column_of(row.paired.high) + 1):
                cells[i] = "┼" if cells[i] == "│" else "─"
            cells[column_of(row.difference)] = "●"
        drawn.append((row.name, "".join(cells)))
    return drawn


def sentence(comparison: Comparison) -> str:
    """What the comparison is based on, in sentences."""
    text = f"All models were measured on the same {counted(comparison.images, 'image')}"
    if comparison.left_out:
        text += f" (left out: {counted(comparison.left_out, 'image')} that some models did not see)"
    better = "Higher" if comparison.rising else "Lower"
    test = "McNemar's exact test" if comparison.metric == "top1" else "from the same draws"
    seen = ""
    if comparison.trained_on:
        models = ", ".join(f"'{name}'" for name in comparison.trained_on)
        was = "were" if len(comparison.trained_on) > 1 else "was"
        seen = f" {models} {was} trained on some of these images, so the metrics are better than they would be on new images."
    return (
        f"{text}. {better} {comparison.title} is better. Intervals are of 95% confidence; those of the differences are paired: "
        f"from the same bootstrap draws of images for both models; p: {test}.{seen}"
    )


def figure(comparison: Comparison) -> Figure:
    """A plot of the metrics on the left and the paired differences on the right, each with its interval.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = len(comparison.rows)
    drawn, first = figure_of(9.0, 1.5 + 0.42 * count, columns=2)
    left, right = drawn.axes[0] or first, drawn.axes[1]
    scale = 100 if comparison.percent else 1
    for i, row in enumerate(comparison.rows):
        y = count - 1 - i
        color = _color(row)
        for axes, value, interval in ((left, row.value, row.interval), (right, row.difference, row.paired)):
            shade = INK if axes is left else color
            if interval is not None and interval.known:
                axes.plot([scale * interval.low, scale * interval.high], [y, y], color=shade, linewidth=2.4, alpha=0.55)
            if axes is left or row.verdict:
                axes.plot(scale * value, y, "o", color=shade, markersize=7)
    right.axvline(0, color=MUTED, linewidth=1.2, linestyle="--")
    unit = ", %" if comparison.percent else ""
    left.set_title(f"{comparison.title}{unit}", color=INK, fontsize=10, loc="left", weight="bold")
    points = ", percentage points" if comparison.percent else ""
    right.set_title(
        f"difference from {short(comparison.rows[0].name)}{points}", color=INK, fontsize=10, loc="left", weight="bold"
    )
    for axes in (left, right):
        axes.set_ylim(-0.6, count - 0.4)
        axes.set_yticks(range(count), [])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    left.set_yticks(range(count), [short(row.name) for row in reversed(comparison.rows)])
    return drawn


def to_json(comparison: Comparison) -> str:
    """The comparison as indented JSON; values that cannot be computed are null."""
    data = {"sentence": sentence(comparison), **asdict(comparison)}
    return json.dumps(finite(data), indent=1, ensure_ascii=False) + "\n"


def to_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, beside `comparison.png`."""
    lines = [columns(comparison), ["---"] * len(columns(comparison)), *rows(comparison)]
    table = "\n".join("| " + " | ".join(markdown(cell) for cell in line) + " |" for line in lines)
    return f"# {_title(comparison)}\n\n{sentence(comparison)}\n\n{table}\n\n![{comparison.title}](comparison.png)\n"


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write `comparison.html`, which is self-contained, and `comparison.md`, `.json` and `.png`.

    Returns:
        The path of the HTML file.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OSError: the folder cannot be written.
    """
    plot = figure(comparison)
    html = render(
        "comparison.html.j2",
        title=_title(comparison),
        sentence=sentence(comparison),
        columns=columns(comparison),
        rows=rows(comparison),
        verdicts=[row.verdict for row in comparison.rows],
        svg=plots.svg(plot, "comparison"),
    )
    write_bytes(folder / "comparison.png", plots.png(plot))
    write_bytes(folder / "comparison.json", to_json(comparison).encode("utf-8", "backslashreplace"))
    write_text(folder / "comparison.md", to_markdown(comparison))
    write_text(folder / "comparison.html", html)
    return folder / "comparison.html"


def _title(comparison: Comparison) -> str:
    return f"{counted(len(comparison.rows), 'model')} compared"


def _color(row: Compared) -> str:
    return {"better": ACCENT, "worse": WRONG}.get(row.verdict, MUTED)


def _value(comparison: Comparison, value: float) -> str:
    return words.share(value) if comparison.percent else "-" if math.isnan(value) else f"{value:.3f}"


def _difference(comparison: Comparison, value: float) -> str:
    return words.difference(100 * value) if comparison.percent else words.difference(value, 3)


def _interval(comparison: Comparison, interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None or not interval.known:
        return ""
    written = _difference if signed else _value
    return f"{written(comparison, interval.low)} to {written(comparison, interval.high)}"


def _p(p: float) -> str:
    return "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"

"""`write_report`: a folder with the report as HTML, Markdown and JSON, its plots and its worst mistakes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

from mobilenets.errors import ImageError
from mobilenets.reports import plots, record
from mobilenets.reports.history import panels
from mobilenets.reports.page import Mistake, to_html
from mobilenets.reports.plots import Plot
from mobilenets.reports.record import Context
from mobilenets.runtime import image
from mobilenets.runtime.evaluation import Report, Row

SHOWN = 480  # px, longer side of a mistake's picture


def write_report(
    report: Report,
    folder: Path,
    *,
    read_image: Callable[[str], bytes],
    title: str = "",
    context: Context | None = None,
    history: Path | None = None,
    next_command: str = "",
    worst: int = 8,
) -> Path:
    """Write `report.html` (one file, nothing outside it), `report.md`, `report.json`, `predictions.csv`, plots and pictures.

    Args:
        report: of an evaluation.
        folder: is made; files of an older report in it are replaced.
        read_image: the encoded picture of a name in the report.
        title: of the page; the model's name by default.
        context: titled tables of facts, such as the recipe and the data's fingerprint.
        history: the run's `metrics.csv`, for the learning curves.
        next_command: to type next, shown at the end.
        worst: how many of the worst mistakes to show.

    Returns:
        The path of `report.html`.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OSError: the folder cannot be written.
    """
    title, context = title or f"{report.model}, evaluated", context or {}
    figures = [*plots.plots(report), *_curves(history)]
    mistakes = [_mistake(row, read_image) for row in report.worst(worst)]
    html = to_html(report, title=title, context=context, next_command=next_command, plots=figures, mistakes=mistakes)

    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "mistakes").mkdir(exist_ok=True)
    for old in (folder / "mistakes").glob("[0-9][0-9].jpg"):
        old.unlink()
    for figure in figures:
        (folder / "plots" / f"{figure.name}.png").write_bytes(plots.png(figure.figure))
    files = []
    for i, mistake in enumerate(mistakes, start=1):
        files.append(f"mistakes/{i:02}.jpg" if mistake.jpeg else "")
        if mistake.jpeg:
            (folder / files[-1]).write_bytes(mistake.jpeg)
    markdown = record.to_markdown(
        report,
        title=title,
        context=context,
        next_command=next_command,
        plots=[(figure.title, f"plots/{figure.name}.png") for figure in figures],
        mistakes=[(mistake.row, file) for mistake, file in zip(mistakes, files, strict=True)],
    )
    data = record.to_json(report, title=title, context=context, next_command=next_command, worst=worst)
    (folder / "report.json").write_text(data, encoding="utf-8")
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    (folder / "predictions.csv").write_text(record.to_csv(report.rows()), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def _curves(history: Path | None) -> list[Plot]:
    drawn = panels(history) if history is not None and history.is_file() else []
    if not drawn:
        return []
    return [Plot("curves", "Learning curves", "Epoch by epoch, as it was trained.", plots.curves(drawn), wide=True)]


def _mistake(row: Row, read_image: Callable[[str], bytes]) -> Mistake:
    try:
        picture = image.decode(read_image(row.name), at_least=SHOWN)
    except (ImageError, OSError):
        return Mistake(row, b"", "")
    picture.thumbnail((SHOWN, SHOWN))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    jpeg = buffer.getvalue()
    return Mistake(row, jpeg, "data:image/jpeg;base64," + base64.b64encode(jpeg).decode())

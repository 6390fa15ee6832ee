"""`write_report`: a folder with the report as HTML, Markdown and JSON, its plots and the images to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mobilenets.reports import plots, record
from mobilenets.reports.history import panels
from mobilenets.reports.html import to_html
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.markdown import to_markdown
from mobilenets.reports.page import Context, Page
from mobilenets.reports.plots import Plot


def write_report(
    report: Evaluated,
    folder: Path,
    *,
    read_image: Callable[[str], bytes],
    title: str = "",
    context: Context | None = None,
    history: Path | None = None,
    next_command: str = "",
    worst: int = 8,
) -> Path:
    """Write `report.html` (one file, nothing outside it), `report.md`, `report.json`, `predictions.csv`, plots and images.

    Args:
        report: of an evaluation.
        folder: is made; files of an older report in it are replaced.
        read_image: the encoded image of a name in the report.
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
    kind = KINDS[type(report)]
    content = kind.content(report, read_image=read_image, worst=worst)
    page = Page(
        title=title or f"{report.model}, evaluated",
        metrics=report.metrics,
        content=replace(content, plots=(*content.plots, *_curves(history))),
        speed=f"{len(report) / report.seconds:.0f} images a second" if report.seconds else "",
        unreadable=report.unreadable,
        context=context or {},
        next_command=next_command,
    )
    html = to_html(page)

    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "mistakes").mkdir(exist_ok=True)
    for old in (folder / "mistakes").glob("[0-9][0-9].jpg"):
        old.unlink()
    figures = [f"plots/{plot.name}.png" for plot in page.content.plots]
    for plot, file in zip(page.content.plots, figures, strict=True):
        (folder / file).write_bytes(plots.png(plot.figure))
    images = [f"mistakes/{i:02}.jpg" if one.jpeg else "" for i, one in enumerate(page.content.shown, start=1)]
    for one, file in zip(page.content.shown, images, strict=True):
        if file:
            (folder / file).write_bytes(one.jpeg)
    data = record.to_json(report, title=page.title, context=page.context, next_command=next_command, worst=worst)
    (folder / "report.json").write_text(data, encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(page, plots=figures, images=images), encoding="utf-8")
    (folder / "predictions.csv").write_text(kind.csv(report), encoding="utf-8")
    target = folder / "report.html"
    target.write_text(html, encoding="utf-8")
    return target


def _curves(history: Path | None) -> list[Plot]:
    drawn = panels(history) if history is not None and history.is_file() else []
    if not drawn:
        return []
    return [Plot("curves", "Learning curves", "Epoch by epoch, as it was trained.", plots.curves(drawn), wide=True)]

"""`write_report` writes a folder with the report as HTML, Markdown and JSON, its plots, and the images to look at."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mobilenets.files import flush, replaced_folder
from mobilenets.reports import plots, record
from mobilenets.reports.history import panels
from mobilenets.reports.html import to_html
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.markdown import to_markdown
from mobilenets.reports.page import Context, Page, Remark, Shown
from mobilenets.reports.plots import Plot

OWN = frozenset(
    ("report.html", "report.md", "report.json", "predictions.csv", record.PER_IMAGE, "plots", "mistakes", "examples")
)
"""The files and folders of a report."""


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
    remarks: Sequence[Remark] = (),
    look: Callable[[str], bytes] | None = None,
) -> Path:
    """Write `report.html`, which is self-contained, and `report.md`, `report.json`, `predictions.csv`, plots and images.

    The folder replaces an older report as a whole, so a reader finds either the old or the new report, never parts of both.

    Args:
        report: the result of an evaluation.
        folder: the folder to write. If it contains other files too, those stay, and the parts of the report are replaced one
            by one.
        read_image: returns the encoded image of a name in the report.
        title: the title of the page; the model's name by default.
        context: titled tables of facts, such as the recipe and the data's fingerprint.
        history: the run's `metrics.csv`, for the learning curves.
        next_command: the command to type next, shown at the end.
        worst: how many of the worst mistakes to show.
        remarks: sentences about what the metrics mean.
        look: draws the occlusion map on the image of a name, as JPEG; None to show no such maps.

    Returns:
        The path of `report.html`.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        OSError: the folder cannot be written.
    """
    kind = KINDS[type(report)]
    content = kind.content(report, read_image=read_image, worst=worst)
    if look is not None:
        content = replace(content, shown=tuple(replace(image, looked=look(image.name)) for image in content.shown))
    page = Page(
        title=title or f"{report.model}, evaluated",
        metrics=report.metrics,
        content=replace(content, plots=(*content.plots, *_curves(history))),
        speed=f"{len(report) / report.seconds:.0f} images a second" if report.seconds else "",
        unreadable=report.unreadable,
        context=context or {},
        next_command=next_command,
        remarks=remarks,
    )
    html = to_html(page)
    data = record.to_json(
        report, title=page.title, context=page.context, next_command=next_command, worst=worst, remarks=remarks
    )
    with _place(folder) as draft:
        figures = [f"plots/{plot.name}.png" for plot in page.content.plots]
        (draft / "plots").mkdir()
        for plot, file in zip(page.content.plots, figures, strict=True):
            (draft / file).write_bytes(plots.png(plot.figure))
        images = _images(page.content.shown, draft, "mistakes")
        examples = _images(page.content.right, draft, "examples")
        markdown = to_markdown(page, plots=figures, images=images, examples=examples)
        (draft / "report.json").write_bytes(
            data.encode("utf-8", "backslashreplace")
        )  # half a pair of surrogates, as JSON has it
        for name, text in (("report.md", markdown), ("predictions.csv", kind.csv(report)), ("report.html", html)):
            (draft / name).write_text(text, encoding="utf-8")
        (draft / record.PER_IMAGE).write_bytes(_arrays(report))
    return folder / "report.html"


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """An empty folder to fill. When the block ends, its content replaces that of `folder`."""
    if not folder.is_dir() or all(entry.name in OWN for entry in folder.iterdir()):
        with replaced_folder(folder) as draft:
            yield draft
        return
    draft = folder / ".report.new"  # inside the folder, because that contains other files and cannot be replaced as a whole
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        flush(draft)
        for entry in sorted(draft.iterdir()):
            if (folder / entry.name).is_dir():
                shutil.rmtree(folder / entry.name)
            entry.replace(folder / entry.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _images(shown: Sequence[Shown], folder: Path, name: str) -> list[str]:
    """Write images into a folder of this name. Returns their paths relative to `folder`; "" if an image cannot be read."""
    (folder / name).mkdir()
    files = [f"{name}/{i:02}.jpg" if image.jpeg else "" for i, image in enumerate(shown, start=1)]
    for image, file in zip(shown, files, strict=True):
        if file:
            (folder / file).write_bytes(image.jpeg)
    return files


def _arrays(report: Evaluated) -> bytes:
    """The file that `compare` reads: arrays with one row per image, without Python objects."""
    kind = KINDS[type(report)]
    buffer = io.BytesIO()
    names, labels = np.array(report.names, np.str_), np.array(report.labels, np.str_)
    arrays = {"names": names, "labels": labels, "task": np.array(kind.task), **kind.per_image(report)}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _curves(history: Path | None) -> list[Plot]:
    drawn = panels(history) if history is not None and history.is_file() else []
    if not drawn:
        return []
    caption = "Epoch by epoch. The thick line picks the checkpoint; the dot is its best epoch."
    return [Plot("curves", "Learning curves", caption, plots.curves(drawn), wide=True)]

"""Writes a report as Markdown that links to its plots and images."""

from __future__ import annotations

from collections.abc import Sequence

from mobilenets.reports import words
from mobilenets.reports.escape import code, markdown, printable
from mobilenets.reports.page import Page, Shown


def to_markdown(page: Page, *, plots: Sequence[str], images: Sequence[str], examples: Sequence[str] = ()) -> str:
    """The page as Markdown. File names and labels are escaped, so that they are shown literally.

    Args:
        page: the report.
        plots: the file name of each plot.
        images: the file name of each image with mistakes; "" if it cannot be shown.
        examples: the file name of each image without mistakes; "" if it cannot be shown.
    """
    content = page.content
    parts = [f"# {markdown(page.title)}", markdown(content.subtitle)]
    parts += ["\n".join(f"- {markdown(remark.text)}" for remark in page.remarks)] if page.remarks else []
    parts += [_table(("metric", "value", "95% interval", ""), words.metric_lines(page.metrics))]
    for headline, introduction, group, files in (
        (content.headline, content.introduction, content.shown, images),
        ("For comparison: correct results", "", content.right, examples),
    ):
        if group:
            heads = ("image", "file", *(fact.word for fact in group[0].facts))
            rows = [_cells(image, file) for image, file in zip(group, files, strict=True)]
            parts += [f"## {headline}", *([introduction] if introduction else []), _raw_table(heads, rows)]
    for plot, file in zip(content.plots, plots, strict=True):
        parts += [f"## {plot.title}", f"![{plot.title}]({_link(file)})"]
    for table in content.tables:
        parts += [f"## {table.title}", *([table.note] if table.note else []), _table(table.columns, table.rows)]
    if page.unreadable:
        rows = [(code(name), markdown(error)) for name, error in page.unreadable]
        parts += ["## Unreadable images", _raw_table(("file", "reason"), rows)]
    for section, facts in page.context.items():
        rows = [(markdown(key), markdown(text)) for key, fact in facts.items() if (text := words.plain(fact))]
        parts += [f"## {markdown(section)}", _raw_table(("", ""), rows)]
    if page.next_command:
        parts += ["## Next", f"```\n{printable(page.next_command)}\n```"]
    return "\n\n".join(parts) + "\n"


def _cells(image: Shown, file: str) -> tuple[str, ...]:
    return (f"![]({_link(file)})" if file else "", code(image.name), *(markdown(fact.text) for fact in image.facts))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose text is escaped."""
    return _raw_table(columns, [[markdown(cell) for cell in row] for row in rows])


def _raw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _link(file: str) -> str:
    return file.replace(" ", "%20")

"""The report as Markdown, beside its plots and images."""

from __future__ import annotations

from collections.abc import Sequence

from mobilenets.reports import words
from mobilenets.reports.page import Page, Shown


def to_markdown(page: Page, *, plots: Sequence[str], images: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        plots: file name of each plot.
        images: file name of each shown image, "" where it cannot be shown.
    """
    content = page.content
    metrics = words.metric_lines(page.metrics)
    parts = [f"# {page.title}", content.subtitle, _table(("metric", "value", "95% interval", ""), metrics)]
    if content.shown:
        heads = ("image", "file", *(fact.word for fact in content.shown[0].facts))
        lines = [_line(one, file) for one, file in zip(content.shown, images, strict=True)]
        parts += [f"## {content.headline}", content.introduction, _table(heads, lines)]
    for plot, file in zip(content.plots, plots, strict=True):
        parts += [f"## {plot.title}", f"![{plot.title}]({_link(file)})"]
    for table in content.tables:
        parts += [f"## {table.title}", *([table.note] if table.note else []), _table(table.columns, table.rows)]
    if page.unreadable:
        parts += ["## Not readable", _table(("file", "reason"), [(f"`{name}`", error) for name, error in page.unreadable])]
    for section, facts in page.context.items():
        parts += [f"## {section}", _table(("", ""), [(key, words.plain(fact)) for key, fact in facts.items()])]
    if page.next_command:
        parts += ["## Next", f"```\n{page.next_command}\n```"]
    return "\n\n".join(parts) + "\n"


def _line(one: Shown, file: str) -> tuple[str, ...]:
    return (f"![]({_link(file)})" if file else "", f"`{one.name}`", *(fact.text for fact in one.facts))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _link(file: str) -> str:
    return file.replace(" ", "%20")

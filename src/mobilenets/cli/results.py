"""Prints a report: the metrics with their intervals, then the worst mistakes, as images if the terminal has colors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import show, show_table
from mobilenets.reports.escape import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from mobilenets.reports.kinds import Evaluated
    from mobilenets.reports.page import Remark

SHOWN = 3  # how many of the worst mistakes are shown
ROWS = 20  # most rows of a table of classes
COLUMNS = 26  # width of an image in the terminal; each character shows two pixels, one above the other


def show_report(report: Evaluated, page: Path | None, *, title: str = "") -> None:
    """Print the metrics and the worst mistakes.

    Args:
        report: the evaluation's report.
        page: the `report.html` that was written, with the images of the mistakes beside it; None if none was written.
        title: title of the metrics table.
    """
    from mobilenets.reports.kinds import KINDS
    from mobilenets.reports.words import metric_lines

    show_table(("metric", "value", "95% interval", ""), metric_lines(report.metrics), title=title)
    brief = KINDS[type(report)].brief(report, SHOWN)
    for table in brief.tables:
        show_table(table.columns, table.rows[:ROWS])
        if len(table.rows) > ROWS:
            show(f"and {len(table.rows) - ROWS} more in the report")
    if not brief.worst.rows:
        return
    files = [_image(page, i) for i, _ in enumerate(brief.worst.rows, start=1)]
    rows = [(*row, str(file or "-")) for row, file in zip(brief.worst.rows, files, strict=True)]
    show_table((*brief.worst.columns, "image"), rows)
    shown = [file for file in files if file is not None]
    if shown:
        _show_images(shown)


def show_remarks(remarks: Sequence[Remark]) -> None:
    """Print the remarks that explain the metrics."""
    for remark in remarks:
        show(f"{'warning' if remark.warning else 'note'}: {printable(remark.text)}")


def _image(page: Path | None, rank: int) -> Path | None:
    file = page.parent / "mistakes" / f"{rank:02}.jpg" if page else None
    return file if file is not None and file.is_file() else None


def _show_images(files: list[Path]) -> None:
    """Print images side by side if standard output is a terminal with colors."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal or console.color_system is None or console.no_color:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_row(*(_blocks(file) for file in files))
    console.print(grid)
    show("")


def _blocks(file: Path) -> Text:
    """The image as text for rich: in each upper half block, the foreground is the upper pixel and the background the lower."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    from mobilenets.runtime.images.decode import decode_image

    image = decode_image(file)
    height = max(2, round(image.height * COLUMNS / image.width) // 2 * 2)
    image = image.resize((COLUMNS, height))
    text = Text()
    for y in range(0, height, 2):
        for x in range(COLUMNS):
            above, below = (Color.from_rgb(*image.getpixel((x, y + i))[:3]) for i in (0, 1))  # type: ignore[index]  # RGB
            text.append("▀", Style(color=above, bgcolor=below))
        text.append("\n")
    return text

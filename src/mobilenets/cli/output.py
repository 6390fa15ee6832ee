"""Output of the command line: results go to stdout, progress and notes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mobilenets.data.cells import guarded
from mobilenets.documents import finite
from mobilenets.runtime.rows import escaped
from mobilenets.runtime.text import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable


def show(text: str) -> None:
    """Print one line of results."""
    print(printable_lines(text))


def show_json(data: Any) -> None:  # Any: whatever JSON can hold
    """Print the result as JSON, for programs; what is not a number is null."""
    print(escaped(json.dumps(finite(data), indent=2, ensure_ascii=False)))


def show_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print the result as CSV with a header."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)


def csv_cell(value: object) -> str:
    """Escape a CSV cell so that neither a spreadsheet nor a terminal executes it.

    >>> csv_cell("=1+1"), csv_cell(-0.5)
    ("'=1+1", '-0.5')
    """
    return printable(guarded(str(value)))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", caption: str = "") -> None:
    """Print a table for people. Numbers are right-aligned, and the table is as wide as needed if stdout is not a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    heading = Text(printable(title)) if title else None  # a name may look like Rich markup
    table = Table(box=SIMPLE_HEAD, title=heading, caption=caption or None, title_justify="left", caption_justify="left")
    for i, column in enumerate(columns):
        numeric = bool(cells) and all(_is_number(row[i]) for row in cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(80, Console(width=10_000).measure(table).maximum), soft_wrap=True)
    console.print(table)


def note(text: str) -> None:
    """Print one line for the user to stderr."""
    print(printable_lines(text), file=sys.stderr)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar with rate and remaining time on stderr; yields the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).replace("%", "").replace("-", "", 1).strip().isdigit() or text in ("", "-")

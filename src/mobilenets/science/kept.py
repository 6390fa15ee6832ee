"""Stored results: PNG, SVG, CSV, and JSON with everything about a result except its plot."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenets.documents import decode, encode, parse
from mobilenets.errors import DocumentError
from mobilenets.files import write_bytes, write_text
from mobilenets.reports.plots import SURFACE, png
from mobilenets.science.entry import Cell, Comparison, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".csv", ".json")


@dataclass(frozen=True, slots=True)
class Kept:
    """A result without its plot, as stored in the JSON file.

    Args:
        name: name of the reproduction.
        columns, rows, caption, comparisons, findings: as in `Result`.
        machine: the processor that computed it.
        options: the options and their values.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    comparisons: tuple[Comparison, ...]
    findings: tuple[str, ...]
    machine: str
    options: dict[str, str]


def kept(name: str, result: Result, *, machine: str, options: dict[str, str]) -> Kept:
    """The stored form of a result."""
    rows = tuple(tuple(row) for row in result.rows)
    return Kept(name, result.columns, rows, result.caption, result.comparisons, result.findings, machine, options)


def write(facts: Kept, figure: Figure, folder: Path) -> list[Path]:
    """Write a result into a folder; returns the files, in the order of `ENDINGS`.

    Raises:
        OSError: a file cannot be written.
    """
    paths = [folder / f"{facts.name}{ending}" for ending in ENDINGS]
    write_bytes(paths[0], png(figure))
    write_text(paths[1], _svg(figure, facts.name))
    write_text(paths[2], _csv(facts))
    write_text(paths[3], json.dumps(to_data(facts), indent=1, ensure_ascii=False) + "\n")
    return paths


def to_data(facts: Kept) -> dict[str, Any]:  # Any: what JSON holds
    """The result for JSON, with every difference as text."""
    data: dict[str, Any] = encode(facts)
    for given, comparison in zip(data["comparisons"], facts.comparisons, strict=True):
        given["difference"] = comparison.difference
    return data


def read(path: Path) -> Kept:
    """Read a result that `write` wrote as JSON.

    Raises:
        DocumentError: the file is not such a result.
        OSError: it cannot be read.
    """
    data = parse(path.read_bytes())
    try:
        bare = {
            **data,
            "comparisons": [{k: v for k, v in each.items() if k != "difference"} for each in data["comparisons"]],
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise DocumentError(f"{path} is not the result of a reproduction: it has no comparisons") from error
    return decode(bare, Kept)


def number(value: float) -> str:
    """A number with as many digits as a table needs.

    >>> number(4867.3), number(0.12345), number(75.0), number(3)
    ('4,867', '0.1235', '75', '3')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _csv(facts: Kept) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(facts.columns)
    writer.writerows([("" if cell is None else cell) for cell in row] for row in facts.rows)
    return text.getvalue()


def _svg(figure: Figure, name: str) -> str:
    """The figure as a reproducible SVG: the same figure gives the same text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", facecolor=SURFACE, metadata={"Date": None})
    return buffer.getvalue()

"""CSV and TSV files: their rows with line numbers, and the images that they name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS
from mobilenets.data.faults import Fault
from mobilenets.data.limits import TEXT_BYTES
from mobilenets.data.locate import Locator, checked_path
from mobilenets.data.samples import Split
from mobilenets.data.text import Text, decoded, read_bytes, shown
from mobilenets.data.walk import Tree, scan
from mobilenets.errors import DataError

Place = Callable[[str, str], Path]
"""Path of an image by what a row calls it; the second argument is where that stands, for errors."""

_OWN = (
    b",name,offset,size",
    b",name,offset,size,checksum",
    b",picture",
)  # ends of the first line of our own lists
_TRIED = 20  # images that tell whether the paths of a list lead anywhere


@dataclass(frozen=True, slots=True)
class Rows:
    """A table as its file has it.

    Args:
        path: the file.
        header: the names of its columns.
        cells: of each row that is not empty, after the number of its last line.
        faults: what is wrong with the file's encoding.
    """

    path: Path
    header: tuple[str, ...]
    cells: tuple[tuple[int, list[str]], ...]
    faults: tuple[Fault, ...] = ()


def read_rows(path: Path) -> Rows:
    """The rows of a CSV or TSV file, delimited by tabs in `.tsv`, else by commas, or by semicolons or tabs where the first
    line has no comma.

    Raises:
        DataError: it cannot be read, or a row has more cells than the header; says the line.
    """
    text = _text(path)
    head = text.lines[0]
    reader = csv.reader(io.StringIO(text.content, newline=""), delimiter=_delimiter(path, head))
    cells: list[tuple[int, list[str]]] = []
    try:
        header = tuple(name.strip() for name in next(reader, []))
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                message = f"'{path}' line {reader.line_num} has more fields than the header names"
                raise DataError(message, hint="quote fields that hold the delimiter")
            cells.append((reader.line_num, row))
    except csv.Error as error:
        raise DataError(f"'{path}' line {reader.line_num}: {error}") from error
    return Rows(path, header, tuple(cells), tuple(text.faults(path.name)))


def read_header(path: Path) -> tuple[str, ...]:
    """The names of a table's columns; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            head = decoded(file.readline(1 << 16), path).content
    except (OSError, ValueError, DataError):
        return ()
    try:
        return tuple(name.strip() for name in next(csv.reader([head], delimiter=_delimiter(path, head)), []))
    except csv.Error:
        return ()


def columns_of(header: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The place of each known column, by the first of its names that the header has in any case."""
    lower = [name.lower().replace(" ", "_") for name in header]
    position_of = {}
    for column, names in known.items():
        position = next((lower.index(name) for name in names if name in lower), None)
        if position is not None:
            position_of[column] = position
    return position_of


def finder(path: Path, written: Sequence[str], tree: Tree | None = None) -> Place:
    """How the images of a list are found: as its paths say, relative to its folder; else anywhere below that folder.

    Args:
        path: the list.
        written: paths of its first images.
        tree: of the dataset's folder, where the list is one of its files.
    """
    tried = [place for place in written[:_TRIED] if place]
    if tree is None:
        if all(_is_file(path.parent / place) for place in tried):
            return as_written(path)
        return Locator(scan(path.parent)).find
    folder = path.parent.relative_to(tree.root).as_posix().removeprefix(".")
    return Locator(tree, (folder, "")).find


def as_written(path: Path) -> Place:
    """How the images of a list are found that this package wrote: exactly as its paths say."""
    return lambda written, where: path.parent / checked_path(written, where)


def split_of(where: str, text: str) -> Split | None:
    """The split that a cell names; None where it is empty.

    Raises:
        DataError: it names none.
    """
    if not text:
        return None
    if text.lower() not in SPLIT_WORDS:
        raise DataError(f"{where}: {shown(text)} is not a split", hint="splits are train, val and test")
    return SPLIT_WORDS[text.lower()]


def cells_of(row: Sequence[str], columns: Mapping[str, int]) -> dict[str, str]:
    """A row's cells by column, without spaces around them."""
    return {column: row[place].strip() if place < len(row) else "" for column, place in columns.items()}


def first_cells(rows: Rows, place: int) -> Iterator[str]:
    """One column of the first rows."""
    for _, row in rows.cells[:_TRIED]:
        yield row[place].strip() if place < len(row) else ""


def _text(path: Path) -> Text:
    """The characters of the file. In a list that this package wrote, bytes of file names stay as they are."""
    data = read_bytes(path, most=TEXT_BYTES)
    if data.split(b"\n", 1)[0].rstrip(b"\r").endswith(_OWN):
        return Text(data.decode("utf-8-sig", "surrogateescape"))
    return decoded(data, path)


def _delimiter(path: Path, head: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if ";" in head and "," not in head else "\t" if "\t" in head and "," not in head else ","


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False

"""Reads CSV and TSV files: their rows with line numbers, and the images that lists of images and boxes name."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.cells import unguarded
from mobilenets.data.entries import SPLIT_WORDS, Entry
from mobilenets.data.faults import Fault
from mobilenets.data.limits import TEXT_BYTES
from mobilenets.data.locate import Locator, checked_path
from mobilenets.data.samples import Split
from mobilenets.data.text import Text, columns_shown, decoded, finite, legible, read_bytes, shown
from mobilenets.data.walk import Tree, scan
from mobilenets.documents import parse
from mobilenets.errors import DataError, DocumentError
from mobilenets.table import unknown_name

Locate = Callable[[str, str], Path]
"""Finds the path of an image from its path in a row; the second argument is the file and line, for errors."""

_OWN = (b",name,offset,size", b",name,offset,size,checksum", b",picture")  # how the header of our own lists ends
_STATED = re.compile(r"sep=(.)\s*$", re.IGNORECASE)  # a first line that states the separator
UNASSIGNED = "unassigned"
"""What Vertex AI writes for the split of an image that has none, in lower case."""

_TRIED = 20  # number of images that are searched to decide whether the paths of a list are right


@dataclass(frozen=True, slots=True)
class Rows:
    """A table, as it is in its file.

    Args:
        path: the file.
        header: the names of its columns.
        cells: for each row that is not empty, the number of its last line and its cells.
        faults: what is wrong with the file's encoding.
        decimal_commas: whether numbers may have a comma in place of the point, as in sheets whose cells end with a semicolon.
    """

    path: Path
    header: tuple[str, ...]
    cells: tuple[tuple[int, list[str]], ...]
    faults: tuple[Fault, ...] = ()
    decimal_commas: bool = False


@dataclass(frozen=True, slots=True)
class ImageRows:
    """A table whose rows name images.

    Args:
        rows: the table.
        columns: the position of each column that is read.
        own: whether this package wrote the table. Its cells are then read exactly, because file names may contain spaces.
        locate: finds an image by its path in a row.
    """

    rows: Rows
    columns: Mapping[str, int]
    own: bool
    locate: Locate

    def cells(self) -> Iterator[tuple[str, dict[str, str]]]:
        """For each row, its file and line, for errors, and its cells by column."""
        for line, row in self.rows.cells:
            cells = {column: row[i] if i < len(row) else "" for column, i in self.columns.items()}
            exact = {column: unguarded(cell if self.own else cell.strip()) for column, cell in cells.items()}
            yield f"'{self.rows.path}' line {line}", exact

    def number(self, text: str, what: str) -> float:
        """The number in a cell; `what` is as for `finite`.

        Raises:
            DataError: it is not a number.
        """
        return finite(text.replace(",", ".") if self.rows.decimal_commas else text, what)

    def image(self, written: str, where: str) -> tuple[Path, str]:
        """The path of the image that a row names, and its address; "" if the image is a file."""
        return (Path(file_name(written)), written) if is_remote(written) else (self.locate(written, where), "")


def image_rows(
    rows: Rows,
    columns: Mapping[str, int],
    *,
    required: Collection[str],
    own: Collection[str],
    group: str | None,
    tree: Tree | None,
    hint: str,
) -> ImageRows:
    """The rows of a list of images.

    Args:
        rows: the table.
        columns: the position of each column that is read.
        required: the columns that a list must have.
        own: the columns that only lists by this package have.
        group: the name of the column that names groups; None for the column called "group".
        tree: the dataset's folder, in which images are looked for; None for the folder of the list.
        hint: what to do if a required column is missing.

    Raises:
        DataError: a required column is missing.
        UnknownNameError: there is no column named `group`.
    """
    for position in columns.values():
        if [_plain(name) for name in rows.header].count(_plain(rows.header[position])) > 1:
            message = f"'{rows.path}' has several columns called '{legible(rows.header[position])}'"
            raise DataError(message, hint="rename or remove the others")
    for column in required:
        if column not in columns:
            raise DataError(f"'{rows.path}' has no column '{column}'; found: {columns_shown(rows.header)}", hint=hint)
    if group is not None:
        if group not in rows.header:
            raise unknown_name(f"column of {rows.path}", group, dict.fromkeys(rows.header))
        columns = {**columns, "group": rows.header.index(group)}
    exact = all(column in columns for column in own)
    locate = _as_written(rows.path) if exact else _finder(rows.path, list(first_cells(rows, columns["path"])), tree)
    return ImageRows(rows, columns, exact, locate)


def refuse_half_splits(path: Path, entries: Collection[Entry]) -> None:
    """Check that either all images of a list have a split, or none.

    Raises:
        DataError: some have one and others do not.
    """
    bare = [entry for entry in entries if entry.split is None]
    if 0 < len(bare) < len(entries):
        some = f"{len(entries) - len(bare)} of {len(entries)} images"
        raise DataError(f"'{path}' names a split for {some}, but none for {shown(bare[0].name)}")


def read_rows(path: Path) -> Rows:
    """The rows of a CSV or TSV file, of a file of JSON lines, or of a text file whose lines end with the second of two columns.

    The delimiter is the one that a first line such as `sep=;` states, as Excel writes it; otherwise a tab in a `.tsv` file;
    otherwise a comma, or a semicolon, tab or vertical bar if the first line has no comma.

    Raises:
        DataError: the file cannot be read, or a row has more cells than the header; the message names the line.
    """
    text = _text(path)
    if path.suffix.lower() == ".txt":
        words = [(line, _words(content)) for line, content in enumerate(text.content.split("\n"), 1) if content.strip()]
        return Rows(path, tuple(words[0][1]) if words else (), tuple(words[1:]), tuple(text.faults(path.name)))
    if path.suffix.lower() == ".jsonl":
        return _objects(path, text)
    if not text.content.strip():
        raise DataError(f"'{path}' is empty")
    head = text.lines[0]
    delimiter = _delimiter(path, head)
    reader = csv.reader(io.StringIO(text.content, newline=""), delimiter=delimiter)
    cells: list[tuple[int, list[str]]] = []
    usual = csv.field_size_limit(TEXT_BYTES)  # a mask in a cell may be long
    try:
        if _STATED.match(head):
            next(reader)
        header = tuple(name.strip() for name in next(reader, []))
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                names = columns_shown(header)
                message = f"'{path}' line {reader.line_num} has {len(row)} fields, but the header names {len(header)}: {names}"
                raise DataError(message, hint="quote fields that hold the delimiter")
            cells.append((reader.line_num, row))
    except csv.Error as error:
        raise DataError(f"'{path}' line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(usual)
    return Rows(path, header, tuple(cells), tuple(text.faults(path.name)), delimiter == ";")


def read_header(path: Path) -> tuple[str, ...]:
    """The names of a table's columns; () if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = decoded(file.readline(1 << 16), path).content
            delimiter = _delimiter(path, head)
            if _STATED.match(head):
                head = decoded(file.readline(1 << 16), path).content
    except (OSError, ValueError, DataError):
        return ()
    if path.suffix.lower() == ".txt":
        return tuple(_words(head))
    if path.suffix.lower() == ".jsonl":
        with suppress(DataError):
            return tuple(_object(head, f"'{path}'"))
        return ()
    try:
        return tuple(name.strip() for name in next(csv.reader([head], delimiter=delimiter), []))
    except csv.Error:
        return ()


def columns_of(header: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The position of each known column: `image_id` is also found as `ImageID`, `Image Id` and `image-id`."""
    plain = [_plain(name) for name in header]
    position_of = {}
    for column, names in known.items():
        position = next((plain.index(_plain(name)) for name in names if _plain(name) in plain), None)
        if position is not None:
            position_of[column] = position
    return position_of


def split_of(where: str, text: str) -> Split | None:
    """The split that a cell names; None if the cell is empty or says that there is none.

    Raises:
        DataError: the cell is not the name of a split.
    """
    if not text or text.lower() == UNASSIGNED:
        return None
    if text.lower() not in SPLIT_WORDS:
        raise DataError(f"{where}: {shown(text)} is not a split", hint="splits are train, val and test")
    return SPLIT_WORDS[text.lower()]


def cells_of(row: Sequence[str], columns: Mapping[str, int]) -> dict[str, str]:
    """A row's cells by column, without spaces around them."""
    return {column: row[i].strip() if i < len(row) else "" for column, i in columns.items()}


def first_cells(rows: Rows, column: int) -> Iterator[str]:
    """The cells of one column in the first rows."""
    for _, row in rows.cells[:_TRIED]:
        yield row[column].strip() if column < len(row) else ""


def _finder(path: Path, written: Sequence[str], tree: Tree | None) -> Locate:
    """Finds images by their paths relative to the list's folder, or else anywhere below that folder or in the tree.

    Args:
        path: the list.
        written: the paths of its first images.
        tree: the dataset's folder, if the list is one of its files.
    """
    if tree is None:
        if all(_is_file(path.parent / image) for image in written if image):
            return _as_written(path)
        return Locator(scan(path.parent)).find
    folder = path.parent.relative_to(tree.root).as_posix().removeprefix(".")
    return Locator(tree, (folder, "")).find


def _as_written(path: Path) -> Locate:
    """Finds images by exactly the paths that a list has, relative to its folder."""
    return lambda written, where: path.parent / checked_path(written, where)


def _text(path: Path) -> Text:
    """The text of the file. In a list by this package, bytes of file names that are not UTF-8 are kept."""
    data = read_bytes(path, most=TEXT_BYTES)
    if data.split(b"\n", 1)[0].rstrip(b"\r").endswith(_OWN):
        return Text(data.decode("utf-8-sig", "surrogateescape"))
    return decoded(data, path)


def _words(line: str) -> list[str]:
    """The words on a line of a text file: the last word, and everything before it, which may be a path with spaces."""
    return line.strip().rsplit(None, 1)


def _objects(path: Path, text: Text) -> Rows:
    """The rows of a file of JSON objects, one a line. The first names the columns."""
    lines = [(line, content) for line, content in enumerate(text.content.split("\n"), 1) if content.strip()]
    found = [(line, _object(content, f"'{path}' line {line}")) for line, content in lines]
    header = tuple(found[0][1]) if found else ()
    cells = tuple((line, [item.get(name, "") for name in header]) for line, item in found)
    return Rows(path, header, cells, tuple(text.faults(path.name)))


def _object(content: str, where: str) -> dict[str, str]:
    try:
        found = parse(content)
    except DocumentError as error:
        raise DataError(f"{where}: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is not a JSON object", hint='expected {"file_name": "1.jpg", "label": "cat"} on each line')
    return {name: _cell(value) for name, value in found.items()}


def _cell(value: object) -> str:
    """A value of JSON as a cell: a list of numbers, such as a box, as it is written; other lists and objects are empty."""
    if isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
        return str(value)
    return "" if isinstance(value, dict | list) or value is None else str(value)


def _plain(name: str) -> str:
    """A column's name in lower case, without what separates its words."""
    return re.sub(r"[\s_-]", "", name.lower())


def _delimiter(path: Path, head: str) -> str:
    if (stated := _STATED.match(head)) is not None:
        return stated[1]
    if path.suffix.lower() == ".tsv":
        return "\t"
    return "," if "," in head else next((mark for mark in ";\t|" if mark in head), ",")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False

"""CSV and TSV lists of boxes: `path,x0,y0,x1,y1,label[,split,difficult,crowd,group]`, a row per box, in px, edges.

An image without objects has one row with its path alone.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.cells import unguarded
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.readers.lists import delimiter_of, header_of, split_of, table_text
from mobilenets.data.remote import file_name, is_remote
from mobilenets.data.words import finite
from mobilenets.data.writers.lists import CORNERS
from mobilenets.errors import DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_id"),
    "x0": ("x0", "xmin", "x_min", "x1", "left"),
    "y0": ("y0", "ymin", "y_min", "y1", "top"),
    "x1": ("x1", "xmax", "x_max", "x2", "right"),
    "y1": ("y1", "ymax", "y_max", "y2", "bottom"),
    "label": ("label", "class", "category", "target", "name"),
    "split": ("split", "subset", "set", "partition"),
    "difficult": ("difficult",),
    "crowd": ("crowd", "iscrowd"),
    "group": ("group",),
    "picture": ("picture",),
}
"""What is read of each row, and the column names that are taken for it."""

_HINT = "the first line names the columns: path,x0,y0,x1,y1,label and if you like split,difficult,crowd,group"
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")
_LEAST = 20  # boxes that, all within one px of the corner, must be shares of the image


def is_box_list(source: str) -> bool:
    """Whether this is a CSV or TSV file with columns for the four edges."""
    path = Path(source)
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return False
    head = header_of(table_text(path))
    columns = _columns(head.replace('"', "").split(delimiter_of(path, head)))
    return all(column in columns for column in ("path", *CORNERS))


def read_box_list(path: Path, *, group: str | None = None) -> Listing:
    """The images of a list with their boxes; paths are relative to its folder.

    The delimiter is a tab in `.tsv`, else a comma, or a semicolon where the header has no comma.

    Args:
        path: the list, UTF-8.
        group: the column that names groups; by default the one called "group".

    Raises:
        DataError: the list cannot be read, a column is missing, or a row makes no sense; says which line.
    """
    text = table_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(path, header_of(text)))
    try:
        header = next(reader, [])
        columns = _columns(header)
        for column in ("path", *CORNERS, "label"):
            if column not in columns:
                raise DataError(f"{path} has no column '{column}'; found: {', '.join(header) or 'none'}", hint=_HINT)
        if group is not None:
            if group not in header:
                raise DataError(f"{path} has no column '{group}'; found: {', '.join(header)}")
            columns["group"] = header.index(group)
        entries: dict[str, Entry] = {}
        boxes: dict[str, list[NamedBox]] = {}
        for row in reader:
            if any(cell.strip() for cell in row):
                entry = _entry(path, reader.line_num, row, columns, len(header))
                first = entries.setdefault(entry.name, entry)
                if first.split != entry.split:
                    found = f"'{first.split or ''}' and '{entry.split or ''}'"
                    raise DataError(f"{path} line {reader.line_num}: '{entry.name}' is in the splits {found}")
                boxes.setdefault(entry.name, []).extend(entry.boxes)
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from error
    if not entries:
        raise DataError(f"{path} lists no image", hint=_HINT)
    _refuse_shares(path, [box for found in boxes.values() for box in found])
    _refuse_half_splits(path, list(entries.values()))
    whole = tuple(replace(entry, boxes=tuple(boxes[name])) for name, entry in entries.items())
    labels = in_order(box.label for found in boxes.values() for box in found)
    return Listing(whole, labels, path.stem, task="detect")


def _columns(header: Sequence[str]) -> dict[str, int]:
    """The place of each column that is read; `x1` is the left edge only where there is an `x2`."""
    lower = [name.strip().lower() for name in header]
    from_one = "x2" in lower
    columns: dict[str, int] = {}
    for column, names in COLUMNS.items():
        for name in names:
            if name in lower and not (name in ("x1", "y1") and (column[1] == "0") != from_one):
                columns[column] = lower.index(name)
                break
    return columns


def _entry(path: Path, line: int, row: Sequence[str], columns: Mapping[str, int], length: int) -> Entry:
    where = f"{path} line {line}"
    if len(row) > length:
        raise DataError(f"{where} has more fields than the header names", hint="quote fields that hold the delimiter")
    exact = "picture" in columns  # written by this package, where spaces belong to names
    given = {column: row[i] if i < len(row) else "" for column, i in columns.items()}
    cells = {column: unguarded(cell if exact else cell.strip()) for column, cell in given.items()}
    place = cells["path"]
    if not place:
        raise DataError(f"{where} has no path")
    if not exact and os.sep == "/" and "\\" in place and "/" not in place:
        place = place.replace("\\", "/")
    url = place if is_remote(place) else ""
    return Entry(
        Path(file_name(url)) if url else path.parent / place,
        "",
        cells.get("picture") or place,
        split_of(where, cells.get("split", "")),
        group=cells.get("group", ""),
        url=url,
        boxes=tuple(_boxes(where, cells)),
    )


def _boxes(where: str, cells: Mapping[str, str]) -> Iterator[NamedBox]:
    """The box of a row, or none."""
    given = [cells[corner] for corner in CORNERS]
    if not any(given):
        return
    if not cells["label"]:
        raise DataError(f"{where} has a box without a label")
    x0, y0, x1, y1 = (finite(text, f"{where}: {corner}") for corner, text in zip(CORNERS, given, strict=True))
    yield NamedBox(cells["label"], x0, y0, x1, y1, _flag(where, cells, "difficult"), _flag(where, cells, "crowd"))


def _flag(where: str, cells: Mapping[str, str], key: str) -> bool:
    text = cells.get(key, "").lower()
    if text not in _TRUE and text not in _FALSE:
        raise DataError(f"{where}: {key} is '{text}', not 0 or 1")
    return text in _TRUE


def _refuse_shares(path: Path, boxes: Sequence[NamedBox]) -> None:
    if len(boxes) >= _LEAST and all(0 <= edge <= 1 for box in boxes for edge in (box.x0, box.y0, box.x1, box.y1)):
        raise DataError(
            f"{path}: every edge lies between 0 and 1", hint="edges are px; multiply by the image's width and height"
        )


def _refuse_half_splits(path: Path, entries: Sequence[Entry]) -> None:
    named = sum(entry.split is not None for entry in entries)
    if 0 < named < len(entries):
        bare = next(entry for entry in entries if entry.split is None)
        raise DataError(f"{path} names a split for {named} of {len(entries)} images, but none for '{bare.name}'")

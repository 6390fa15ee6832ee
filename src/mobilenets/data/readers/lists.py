"""CSV and TSV lists of images: `path,label[,split,weight,group]`; a run's `splits.csv` is one too."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.cells import unguarded
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, in_order
from mobilenets.data.remote import file_name, is_remote
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.errors import DataError
from mobilenets.table import unknown_name

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "category", "target"),
    "split": ("split", "subset", "set", "partition"),
    "weight": ("weight",),
    "group": ("group",),
    "name": ("name",),
    "offset": ("offset",),
    "size": ("size",),
    "checksum": ("checksum",),
}
"""What is read of each row, and the column names that are taken for it."""

_HINT = "the first line names the columns: path,label and if you like split,weight,group"


def read_list(path: Path, *, group: str | None = None) -> Listing:
    """The images of a CSV or TSV file; paths are relative to its folder, http and https addresses stand for themselves.

    The delimiter is a tab in `.tsv`, else a comma, or a semicolon where the header has no comma.

    Args:
        path: the list, UTF-8.
        group: the column that names groups; by default the one called "group".

    Raises:
        DataError: the list cannot be read, a column is missing, or a row makes no sense; says which line.
        UnknownNameError: there is no column named `group`.
    """
    text = table_text(path)
    delimiter = delimiter_of(path, header_of(text))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    columns = _columns(path, reader.fieldnames or (), group)
    try:
        entries = _unique(tuple(_entries(path, reader, columns)))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from error
    if not entries:
        raise DataError(f"{path} lists no image", hint=_HINT)
    named = [entry for entry in entries if entry.split is not None]
    if named and len(named) < len(entries):
        bare = next(entry for entry in entries if entry.split is None)
        raise DataError(f"{path} names a split for {len(named)} of {len(entries)} images, but none for '{bare.name}'")
    return Listing(entries, in_order(entry.label for entry in entries), path.stem)


def read_splits(path: Path, *, labels: Sequence[str] = ()) -> Dataset:
    """The dataset that `write_splits` wrote.

    Args:
        path: a run's `splits.csv`.
        labels: class names in the order of the model's logits; sorted ones by default.

    Raises:
        DataError: the list cannot be read, an image has no split, or its label is not among `labels`.
    """
    listing = read_list(path)
    order = tuple(labels) or listing.labels
    index = {label: i for i, label in enumerate(order)}
    samples = []
    for entry in listing.entries:
        if entry.split is None:
            raise DataError(f"{path} names no split for '{entry.name}'")
        if entry.label not in index:
            raise DataError(f"{path}: '{entry.name}' has the label '{entry.label}', which is not one of {', '.join(order[:5])}")
        place = entry.path, index[entry.label], entry.split, entry.weight, entry.group, entry.member, entry.name, entry.url
        samples.append(Sample(*place, checksum=entry.checksum))
    return Dataset(order, tuple(samples), path.parent.name)


def split_names(path: Path) -> dict[str, Split]:
    """Which split each image is in that `write_splits` wrote, by name, whatever the task.

    Raises:
        DataError: the list cannot be read, or a line of it has no split.
    """
    known: dict[str, Split] = {}
    reader = csv.DictReader(io.StringIO(table_text(path), newline=""))
    for row in reader:
        where = f"{path} line {reader.line_num}"
        split = split_of(where, row.get("split") or "")
        if split is None or not row.get("name"):
            raise DataError(f"{where} has no split or no name", hint="is it the splits.csv of a run?")
        known[unguarded(row["name"])] = split
    return known


def in_splits(dataset: Dataset, known: Mapping[str, Split]) -> Dataset:
    """The images of `dataset` that are known by name, each in the split it has there."""
    samples = (replace(sample, split=known[sample.name]) for sample in dataset.samples if sample.name in known)
    return replace(dataset, samples=tuple(samples))


def table_text(path: Path) -> str:
    """The text of a list, UTF-8 with or without a mark, its line ends as they are: names may hold some.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error


def header_of(text: str) -> str:
    """The first line of a list."""
    return re.split("[\r\n]", text, maxsplit=1)[0]


def delimiter_of(path: Path, head: str) -> str:
    """A tab in `.tsv`, else a comma, or a semicolon where the first line has no comma."""
    return "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","


def split_of(where: str, text: str) -> Split | None:
    """The split that a cell names; None where it is empty.

    Raises:
        DataError: it names none.
    """
    if not text:
        return None
    if text.lower() not in SPLIT_WORDS:
        raise DataError(f"{where}: '{text}' is no split", hint="splits are train, val and test")
    return SPLIT_WORDS[text.lower()]


def _columns(path: Path, found: Sequence[str], group: str | None) -> dict[str, str]:
    """The file's own name of each column that is read."""
    lower = {name.strip().lower(): name for name in found}
    columns = {}
    for column, names in COLUMNS.items():
        for name in names:
            if name in lower:
                columns[column] = lower[name]
                break
    for column in ("path", "label"):
        if column not in columns:
            raise DataError(f"{path} has no column '{column}'; found: {', '.join(found) or 'none'}", hint=_HINT)
    if group is not None:
        if group not in found:
            raise unknown_name(f"column of {path}", group, dict.fromkeys(found))
        columns["group"] = group
    return columns


def _entries(path: Path, reader: csv.DictReader[str], columns: Mapping[str, str]) -> Iterator[Entry]:
    exact = {"name", "offset", "size"} <= columns.keys()  # written by this package, where spaces belong to names
    for row in reader:
        where = f"{path} line {reader.line_num}"
        if None in row:
            raise DataError(f"{where} has more fields than the header names", hint="quote fields that hold the delimiter")
        cells = {column: unguarded(row[name] or "" if exact else (row[name] or "").strip()) for column, name in columns.items()}
        if not any(cells.values()):
            continue
        for column in ("path", "label"):
            if not cells[column]:
                raise DataError(f"{where} has no {column}")
        place = cells["path"]
        url = place if is_remote(place) else ""
        if os.sep == "/" and "\\" in place and "/" not in place:
            place = place.replace("\\", "/")
        yield Entry(
            Path(file_name(url)) if url else path.parent / place,
            cells["label"],
            cells.get("name") or place,
            split=split_of(where, cells.get("split", "")),
            weight=_weight(where, cells.get("weight", "")),
            group=cells.get("group", ""),
            member=_member(where, cells.get("offset", ""), cells.get("size", "")),
            url=url,
            checksum=cells.get("checksum", ""),
        )


def _weight(where: str, text: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError as error:
        raise DataError(f"{where}: the weight '{text}' is no number") from error
    if not 0 <= weight < math.inf:
        raise DataError(f"{where}: the weight {text} is not zero or more")
    return weight


def _member(where: str, offset: str, size: str) -> tuple[int, int] | None:
    if not offset and not size:
        return None
    if not offset.isdecimal() or not size.isdecimal():
        raise DataError(f"{where}: offset '{offset}' and size '{size}' are not two whole numbers")
    return int(offset), int(size)


def _unique(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, refused where a name stands twice with different labels or splits; plain repetitions are dropped."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if (first.label, first.split) != (entry.label, entry.split):
            one, other = (f"{entry.label} {entry.split or ''}".rstrip() for entry in (first, entry))
            raise DataError(
                f"'{entry.name}' is listed as '{one}' and as '{other}'", hint="an image has one label and one split"
            )
    return tuple(seen.values())

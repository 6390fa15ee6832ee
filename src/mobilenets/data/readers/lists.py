"""CSV and TSV lists of images: `path,label[,split,weight,group]`; a run's `splits.csv` is one too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.addresses import file_name, is_remote
from mobilenets.data.cells import unguarded
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.rows import Place, Rows, as_written, cells_of, columns_of, finder, first_cells, read_rows, split_of
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, columns_shown, shown, whole
from mobilenets.data.walk import Tree
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

_HINT = "the first line names the columns: path,label and optionally split,weight,group"


def is_list(source: Source) -> bool:
    """Whether this is a CSV or TSV file."""
    return source.suffix in (".csv", ".tsv")


def read_list_file(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a CSV or TSV file: see `read_list`."""
    return read_list(source.path, group=asked.group)


def read_list(path: Path, *, group: str | None = None, tree: Tree | None = None) -> Listing:
    """The images of a CSV or TSV file; paths are relative to its folder, http and https addresses stand for themselves.

    Args:
        path: the list.
        group: the column that names groups; by default the one called "group".
        tree: of the dataset's folder, in which images are looked for; by default the list's own.

    Raises:
        DataError: the list cannot be read, a column is missing, or a row makes no sense; says which line.
        UnknownNameError: there is no column named `group`.
    """
    rows = read_rows(path)
    columns = _columns(rows, group)
    exact = {"name", "offset", "size"} <= columns.keys()  # written by this package, where spaces belong to names
    place = as_written(path) if exact else finder(path, list(first_cells(rows, columns["path"])), tree)
    entries = _unique(path, tuple(_entries(rows, columns, place, exact=exact)))
    if not entries:
        raise DataError(f"'{path}' lists no image", hint=_HINT)
    named = [entry for entry in entries if entry.split is not None]
    if named and len(named) < len(entries):
        bare = next(entry for entry in entries if entry.split is None)
        raise DataError(f"'{path}' names a split for {len(named)} of {len(entries)} images, but none for {shown(bare.name)}")
    return Listing(entries, in_order(entry.label for entry in entries), path.stem, faults=rows.faults)


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
    rows = read_rows(path)
    columns = columns_of(rows.header, {"split": ("split",), "name": ("name",)})
    for line, row in rows.cells:
        where = f"'{path}' line {line}"
        name = row[columns["name"]] if columns.get("name", len(row)) < len(row) else ""
        split = split_of(where, cells_of(row, columns).get("split", ""))
        if split is None or not name:
            raise DataError(f"{where} has no split or no name", hint="is it the splits.csv of a run?")
        known[unguarded(name)] = split
    return known


def in_splits(dataset: Dataset, known: Mapping[str, Split]) -> Dataset:
    """The images of `dataset` that are known by name, each in the split it has there."""
    samples = (replace(sample, split=known[sample.name]) for sample in dataset.samples if sample.name in known)
    return replace(dataset, samples=tuple(samples))


def _columns(rows: Rows, group: str | None) -> dict[str, int]:
    """The place of each column that is read."""
    columns = columns_of(rows.header, COLUMNS)
    for column in ("path", "label"):
        if column not in columns:
            raise DataError(f"'{rows.path}' has no column '{column}'; found: {columns_shown(rows.header)}", hint=_HINT)
    if group is not None:
        if group not in rows.header:
            raise unknown_name(f"column of {rows.path}", group, dict.fromkeys(rows.header))
        columns["group"] = rows.header.index(group)
    return columns


def _entries(rows: Rows, columns: Mapping[str, int], place: Place, *, exact: bool) -> Iterator[Entry]:
    for line, row in rows.cells:
        where = f"'{rows.path}' line {line}"
        given = {column: row[i] if i < len(row) else "" for column, i in columns.items()}
        cells = {column: unguarded(cell if exact else cell.strip()) for column, cell in given.items()}
        for column in ("path", "label"):
            if not cells[column]:
                raise DataError(f"{where} has no {column}")
        written = cells["path"]
        url = written if is_remote(written) else ""
        yield Entry(
            Path(file_name(url)) if url else place(written, where),
            cells["label"] if exact else class_name(cells["label"], where),
            cells.get("name") or (written if exact else written.replace("\\", "/")),
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
        raise DataError(f"{where}: the weight {shown(text)} is not a number") from error
    if not 0 <= weight < math.inf:
        raise DataError(f"{where}: the weight {text[:20]} is not zero or more")
    return weight


def _member(where: str, offset: str, size: str) -> tuple[int, int] | None:
    if not offset and not size:
        return None
    first, length = whole(offset), whole(size)
    if first is None or length is None:
        raise DataError(f"{where}: offset {shown(offset)} and size {shown(size)} are not two whole numbers")
    return first, length


def _unique(path: Path, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries, refused where a name stands twice with different labels or splits; plain repetitions are dropped."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if (first.label, first.split) != (entry.label, entry.split):
            kept, repeated = (f"{entry.label} {entry.split or ''}".rstrip() for entry in (first, entry))
            hint = "an image has one label and one split"
            raise DataError(f"'{path}': {shown(entry.name)} is listed as {shown(kept)} and as {shown(repeated)}", hint=hint)
    return tuple(seen.values())


FORMAT = Format(
    "a CSV or TSV file with the columns path,label[,split,weight,group]", is_list, read_list_file, options=("group",)
)

"""Reads CSV and TSV lists of images: `path,label[,split,weight,group]`, or a column of 0 and 1 for each class.

A run's `splits.csv` is such a list too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.cells import unguarded
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.label_tables import (
    COLUMNS,
    affirmed,
    boxes_in,
    class_columns,
    is_text_list,
    only_class,
    with_names,
    with_splits,
)
from mobilenets.data.readers.rows import ImageRows, cells_of, columns_of, image_rows, read_rows, refuse_half_splits, split_of
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, shown, whole
from mobilenets.data.walk import Tree, scan
from mobilenets.errors import DataError

_JSON = re.compile(r'\[?\s*\{\s*"')  # annotations in a cell, such as Label Studio's
_WEIGHT: dict[str, tuple[str, ...]] = {"weight": ("weight",)}
_OWN = {"name": ("name",), "offset": ("offset",), "size": ("size",)}
_CHECKSUM = {"checksum": ("checksum",)}
_HINT = "the first line names the columns: path,label and optionally split,weight,group"


def is_list(source: Source) -> bool:
    """Whether this is a CSV or TSV file, a file of JSON lines, or a text file with an image and a label on each line."""
    return source.suffix in (".csv", ".tsv", ".jsonl") or (source.tree is None and is_text_list(source.path))


def read_list_file(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a CSV or TSV file: see `read_list`.

    Raises:
        DataError: as for `read_list`; also if it has boxes in a form that cannot be read, and no task is given.
    """
    boxed = boxes_in(source.path) if asked.task is None else ""
    if boxed:
        raise DataError(f"'{source.path}' {boxed}", hint="--task classify reads the labels alone")
    return read_list(source.path, group=asked.group)


def read_list(path: Path, *, group: str | None = None, tree: Tree | None = None) -> Listing:
    """The images of a CSV or TSV file. Paths are relative to its folder; http and https addresses are allowed too.

    Args:
        path: the list.
        group: the column that names groups; by default the column called "group".
        tree: the dataset's folder, in which images are looked for; by default the folder of the list. A list inside a dataset
            comes from another program, whose weights may mean something else.

    Raises:
        DataError: the list cannot be read, a column is missing, or a row is not valid; the message names the line.
        UnknownNameError: there is no column named `group`.
    """
    rows, notes = affirmed(with_splits(read_rows(path)))
    if "path" not in columns_of(rows.header, COLUMNS):
        rows = with_names(rows, scan(path.parent) if tree is None else tree)
    columns = columns_of(rows.header, COLUMNS if tree is not None else COLUMNS | _WEIGHT)
    own = columns_of(rows.header, _OWN)
    if len(own) == len(_OWN):
        columns |= own | columns_of(rows.header, _CHECKSUM)
    classes = () if "label" in columns else class_columns(rows, columns)
    required = ("path",) if classes else ("path", "label")
    images = image_rows(rows, columns, required=required, own=_OWN, group=group, tree=tree, hint=_HINT)
    entries = _unique(path, tuple(_entries(images, classes)))
    if not entries:
        raise DataError(f"'{path}' lists no image", hint=_HINT)
    refuse_half_splits(path, entries)
    return Listing(entries, in_order(entry.label for entry in entries), path.stem, notes, faults=rows.faults)


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
        fields = entry.path, index[entry.label], entry.split, entry.weight, entry.group, entry.member, entry.name, entry.url
        samples.append(Sample(*fields, checksum=entry.checksum))
    return Dataset(order, tuple(samples), path.parent.name)


def split_names(path: Path) -> dict[str, Split]:
    """The split of each image, by name, from a file that `write_splits` wrote for any task.

    Raises:
        DataError: the list cannot be read, or one of its lines has no split.
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
    """The images of `dataset` whose names are known, each in its known split."""
    samples = (replace(sample, split=known[sample.name]) for sample in dataset.samples if sample.name in known)
    return replace(dataset, samples=tuple(samples))


def _entries(images: ImageRows, classes: Sequence[int]) -> Iterator[Entry]:
    for (where, cells), (_, row) in zip(images.cells(), images.rows.cells, strict=True):
        if classes:
            cells["label"] = only_class(images.rows, classes, row, where)
        for column in ("path", "label"):
            if not cells[column]:
                raise DataError(f"{where} has no {column}")
        if _JSON.match(cells["label"]) and not images.own:
            message = f"{where}: the label is JSON, {shown(cells['label'])}"
            raise DataError(message, hint="export the annotations as COCO, YOLO or Pascal VOC instead")
        written = cells["path"]
        path, url = images.image(written, where)
        yield Entry(
            path,
            cells["label"] if images.own else class_name(cells["label"], where),
            cells.get("name") or (written if images.own else written.replace("\\", "/")),
            split=split_of(where, cells.get("split", "")),
            weight=_weight(images, where, cells.get("weight", "")),
            group=cells.get("group", ""),
            member=_member(where, cells.get("offset", ""), cells.get("size", "")),
            url=url,
            checksum=cells.get("checksum", ""),
        )


def _weight(images: ImageRows, where: str, text: str) -> float:
    weight = images.number(text or "1", f"{where}: the weight")
    if weight < 0:
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
    """The entries without repetitions. An image with two different labels or splits is refused."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if (first.label, first.split) != (entry.label, entry.split):
            kept, repeated = (f"{entry.label} {entry.split or ''}".rstrip() for entry in (first, entry))
            hint = "an image has one label and one split"
            raise DataError(f"'{path}': {shown(entry.name)} is listed as {shown(kept)} and as {shown(repeated)}", hint=hint)
    return tuple(seen.values())


FORMAT = Format(
    "a CSV or TSV file with the columns path,label[,split,weight,group], or with a column of 0 and 1 for each class; a text "
    "file with an image and a label on each line",
    is_list,
    read_list_file,
    options=("group",),
)

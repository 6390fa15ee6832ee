"""Reads masks in a column of a CSV, as on Kaggle: `ImageId,EncodedPixels`, with pairs of a start, from 1, and a length.

Pixels are counted down the columns or along the rows. The masks themselves reveal which: read the wrong way, objects fall
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import regions
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.faults import EMPTY, Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.label_tables import RUNS, tables
from mobilenets.data.readers.mask_instances import OBJECT
from mobilenets.data.readers.mask_objects import Outlined, counted_labels, drawn, sized
from mobilenets.data.readers.mask_pairs import pairs
from mobilenets.data.readers.rows import Rows, columns_of, image_rows, read_header, read_rows, refuse_half_splits, split_of
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, counted, shown, some, whole
from mobilenets.data.walk import Tree
from mobilenets.errors import DataError

_BOTH = ("image_label", "imageid_classid")  # the image and the class in one cell, with "_" between them
_COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("image_id", "image", "img", "id", "path", "filename", "file_name", *_BOTH),
    "class": ("class_id", "class", "label", "category"),
    "runs": RUNS,
    "split": ("split",),
    "width": ("width",),
    "height": ("height",),
}
_NOTHING = ("", "-1", "nan", "none", "null")  # cells of an image without objects
_TRIED = 20  # number of masks that are tried in both directions

_Pairs = NDArray[np.int64]


def is_runs(source: Source) -> bool:
    """Whether this is a CSV with such a column, or a folder of images with one and without files of masks."""
    if source.tree is None:
        return source.suffix in (".csv", ".tsv") and _has_runs(source.path)
    return bool(_lists(source.tree)) and not pairs(source.tree)


def read_runs(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of the list with their masks; an image has a row for each object or class, or an empty one.

    Raises:
        DataError: a row is not valid, or there is no mask; the message names the line.
    """
    tree = source.tree
    files = [source.path] if tree is None else [tree.root / path for path in _lists(tree)]
    if len(files) != 1:
        raise DataError(f"'{source.text}' has several lists of masks: {some(map(str, files))}", hint="give the list itself")
    found: dict[str, list[tuple[str, str, _Pairs]]] = {}
    entries = _entries(files[0], tree, found)
    sizes = {name: entry.stated or (1, 1) for name, entry in entries.items()}
    down = _counts_down([(runs, sizes[name]) for name, listed in found.items() for _, _, runs in listed][:_TRIED])
    used = in_order(label for listed in found.values() for label, _, _ in listed)
    if not used:
        images = counted(len(entries), "image")
        raise DataError(f"'{files[0]}' has no mask of its {images}: its column of run lengths is empty", hint=EMPTY)
    labels = counted_labels(used, asked.ignore, source.text)
    index = {label: i for i, label in enumerate(labels)}
    faults = list(tree.faults) if tree is not None else []
    masked = []
    for name, entry in entries.items():
        objects = []
        for label, where, runs in found.get(name, []):
            if runs.size and int(runs.sum(axis=1).max()) > sizes[name][0] * sizes[name][1]:
                message = f"has runs of {where} beyond its {sizes[name][0]} x {sizes[name][1]} pixels; they are left out"
                faults.append(Fault("contradiction", message, name))
                continue
            objects.append(Outlined(label, _region(runs, sizes[name], down), float(runs[:, 1].sum())))
        masked.append(replace(entry, mask=drawn(objects, sizes[name], index)))
    refuse_half_splits(files[0], masked)
    way = "down the columns" if down else "along the rows"
    notes = (f"run lengths of '{files[0].name}' were read {way}, because objects hold together that way",)
    shown_name = source.path.resolve().name if tree is not None else source.path.stem
    return Listing(tuple(masked), tuple(labels), shown_name, notes, task="segment", faults=tuple(faults))


def _lists(tree: Tree) -> list[str]:
    return [path for path in tables(tree) if _has_runs(tree.root / path)]


def _has_runs(path: Path) -> bool:
    return {"path", "runs"} <= columns_of(read_header(path), _COLUMNS).keys()


def _entries(path: Path, tree: Tree | None, found: dict[str, list[tuple[str, str, _Pairs]]]) -> dict[str, Entry]:
    """The images of a list, each with its size, by name; adds to `found` what is on them, with its class and line."""
    rows = read_rows(path)
    columns = columns_of(rows.header, _COLUMNS)
    both = "class" not in columns and bool(columns_of([rows.header[columns["path"]]], {"both": _BOTH}))
    classes: Sequence[str] = ()
    if both:
        rows, classes = _apart(rows, columns["path"])
    hint = "the first line names the columns: ImageId,EncodedPixels"
    images = image_rows(rows, columns, required=("path", "runs"), own=("picture",), group=None, tree=tree, hint=hint)
    entries: dict[str, Entry] = {}
    for i, (where, cells) in enumerate(images.cells()):
        if not cells["path"]:
            raise DataError(f"{where} has no path")
        name = cells["path"].replace("\\", "/")
        if name not in entries:
            image, url = images.image(cells["path"], where)
            size = whole(cells.get("width", "")), whole(cells.get("height", ""))
            stated = (size[0], size[1]) if size[0] and size[1] else None
            split = split_of(where, cells.get("split", ""))
            entries[name] = sized(Entry(image, "", name, split, url=url, stated=stated), path)
        if cells["runs"].lower() not in _NOTHING:
            label = class_name(classes[i] if both else cells.get("class") or OBJECT, where)
            found.setdefault(name, []).append((label, f"line {where.rpartition(' ')[2]}", _pairs(cells["runs"], where)))
    return entries


def _apart(rows: Rows, column: int) -> tuple[Rows, Sequence[str]]:
    """The rows with only the image left in a column that also has the class, and the class of each row."""
    names = [row[column].rpartition("_") if column < len(row) else ("", "", "") for _, row in rows.cells]
    cells = [(line, [*row[:column], name[0], *row[column + 1 :]]) for (line, row), name in zip(rows.cells, names, strict=True)]
    return replace(rows, cells=tuple(cells)), [name[2] for name in names]


def _pairs(text: str, where: str) -> _Pairs:
    """Start, from 0, and length of each run."""
    numbers = [whole(word) for word in text.split()]
    if None in numbers or len(numbers) % 2:
        raise DataError(f"{where} has runs that are not pairs of a start and a length: {shown(text)}")
    runs = np.array([number or 0 for number in numbers], np.int64).reshape(-1, 2)
    if (runs[:, 0] < 1).any():
        raise DataError(f"{where} has a run that starts at 0; the first pixel is 1")
    return runs - (1, 0)


def _counts_down(masks: Sequence[tuple[_Pairs, tuple[int, int]]]) -> bool:
    """Whether pixels are counted down the columns: if so, fewer neighboring pixels differ than along the rows."""
    edges = [0, 0]
    for runs, (width, height) in masks:
        for way, down in enumerate((True, False)):
            if not runs.size or int(runs.sum(axis=1).max()) > width * height:
                continue
            within = _pixels(runs, (width, height), down)
            edges[way] += int((within[1:] != within[:-1]).sum() + (within[:, 1:] != within[:, :-1]).sum())
    return edges[0] <= edges[1]


def _pixels(runs: _Pairs, size: tuple[int, int], down: bool) -> NDArray[np.bool_]:
    width, height = size
    turns = np.zeros(width * height + 1, np.int32)
    np.add.at(turns, runs[:, 0], 1)
    np.add.at(turns, runs.sum(axis=1), -1)
    flat: NDArray[np.bool_] = np.cumsum(turns[:-1]) > 0
    return flat.reshape(width, height).T if down else flat.reshape(height, width)


def _region(runs: _Pairs, size: tuple[int, int], down: bool) -> regions.Region:
    return regions.from_pixels(0, _pixels(runs, size, down))


FORMAT = Format(
    "a CSV of run lengths (ImageId,EncodedPixels), or a folder of images with it", is_runs, read_runs, "segment", ("ignore",)
)

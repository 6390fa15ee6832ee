"""Reads folders whose labels or boxes are in CSV files, as TensorFlow, Roboflow and Kaggle have them.

The lists may be beside the images, above them or in another folder; a list named after a split (`train_labels.csv`), or
in its folder, is of that split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mobilenets.data.entries import Entry, Listing, all_or_none, in_order, split_in, split_word
from mobilenets.data.faults import Fault
from mobilenets.data.locate import Locator
from mobilenets.data.readers.box_lists import has_box_columns, read_box_list
from mobilenets.data.readers.folders import has_classes
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.lists import read_list
from mobilenets.data.readers.rows import columns_of, first_cells, read_header, read_rows
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.text import class_name
from mobilenets.data.walk import Tree, stem_of
from mobilenets.errors import DataError
from mobilenets.specs.model import Task

_DEEPEST = 2  # folders inside the dataset's in which a list may lie
_PATHS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "image",
    "image_path",
    "image_id",
    "id",
    "image_name",
    "id_code",
    "img",
)
_LABELS = ("label", "class", "category", "target", "labels", "class_name", "breed", "species", "diagnosis")


def is_box_folder(source: Source) -> bool:
    """Whether a folder has tables of boxes for its images."""
    return source.tree is not None and bool(_box_lists(source.tree))


def read_box_folder(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder's lists, with their boxes.

    Raises:
        DataError: a list cannot be read, or its images are not there; the message names it.
    """
    tree = _tree(source)
    return _together(
        tree, _box_lists(tree), lambda path: read_box_list(tree.root / path, group=asked.group, tree=tree), "detect"
    )


def is_list_folder(source: Source) -> bool:
    """Whether a folder has no class folders, but tables of labels for its images."""
    return source.tree is not None and not has_classes(source.tree) and bool(_label_lists(source.tree))


def read_list_folder(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder's lists, with their labels.

    Raises:
        DataError: a list cannot be read, or its images are not there; the message names it.
    """
    tree = _tree(source)
    return _together(tree, _label_lists(tree), lambda path: _labeled(path, tree, asked.group), "classify")


def _tree(source: Source) -> Tree:
    if source.tree is None:
        raise DataError(f"'{source.text}' is not a folder")
    return source.tree


def _tables(tree: Tree) -> list[str]:
    return [
        path for path in tree.with_suffix(".csv", ".tsv") if path.count("/") <= _DEEPEST and "submission" not in path.lower()
    ]


def _box_lists(tree: Tree) -> list[str]:
    return [path for path in _tables(tree) if has_box_columns(tree.root / path)]


def _label_lists(tree: Tree) -> list[str]:
    """The tables with labels for images in the folder. At least half of the first images in a table must exist."""
    lists = []
    for path in _tables(tree):
        columns = _label_columns(read_header(tree.root / path))
        if len(columns) < 2 or not tree.images():
            continue
        try:
            rows = read_rows(tree.root / path)
            locator = Locator(tree, (path.rpartition("/")[0], ""))
            paths = [locator.find(cell, f"'{path}'") for cell in first_cells(rows, columns["path"]) if cell]
        except DataError:
            continue
        if paths and 2 * sum(locator.name(image) in tree for image in paths) >= len(paths):
            lists.append(path)
    return lists


def _label_columns(header: Sequence[str]) -> dict[str, int]:
    return columns_of(header, {"path": _PATHS, "label": _LABELS})


def _labeled(path: str, tree: Tree, group: str | None) -> Listing:
    """The images in one table. An identifier without a file ending stands for the image of that name."""
    file = tree.root / path
    if group is not None or "split" in columns_of(read_header(file), {"split": ("split", "subset", "set", "partition")}):
        return read_list(file, group=group, tree=tree)
    rows = read_rows(file)
    columns = _label_columns(rows.header)
    locator = Locator(tree, (path.rpartition("/")[0], ""))
    entries = []
    for line, row in rows.cells:
        where = f"'{file}' line {line}"
        written, label = (row[columns[column]].strip() if columns[column] < len(row) else "" for column in ("path", "label"))
        for column, text in (("path", written), ("label", label)):
            if not text:
                raise DataError(f"{where} has no {column}")
        place = locator.find(written, where)
        entries.append(Entry(place, class_name(label, where), locator.name(place)))
    return Listing(tuple(entries), (), path, faults=rows.faults)


def _together(tree: Tree, files: list[str], read: Callable[[str], Listing], task: Task) -> Listing:
    """The images in several lists together. An image that is in train and in another split stays only in the other one."""
    with_split = [path for path in files if _split_of(path)]
    notes = [f"labels from '{path}'" for path in with_split or files]
    notes += [f"'{path}' names no split and is left out" for path in files if with_split and path not in with_split]
    faults: list[Fault] = list(tree.faults)
    entries: dict[str, Entry] = {}
    order: dict[Split | None, int] = {"train": 0, "val": 1, "test": 2, None: 3}
    for path in sorted(with_split or files, key=lambda path: (order[_split_of(path)], path)):
        listing = read(path)
        faults += listing.faults
        for entry in listing.entries:
            name = (
                entry.path.relative_to(tree.root).as_posix()
                if entry.path.is_relative_to(tree.root) and not entry.url
                else entry.name
            )
            split = entry.split or _split_of(path) or split_in(name)
            first = entries.pop(name, None)
            if first is not None and first.split != split:
                faults.append(Fault("split-twice", f"is in {first.split} and in {split}; it stays in {split} only", name))
            elif first is not None and first.label != entry.label:
                raise DataError(f"'{tree.root / path}': '{name}' is labelled '{first.label}' and '{entry.label}'")
            entries[name] = replace(entry, name=name, split=split)
    splits = all_or_none(entry.split for entry in entries.values())
    whole = tuple(replace(entry, split=split) for entry, split in zip(entries.values(), splits, strict=True))
    labels = in_order(
        label for entry in whole for label in ([box.label for box in entry.boxes] if task == "detect" else [entry.label])
    )
    return Listing(whole, labels, tree.root.resolve().name, tuple(notes), task=task, faults=tuple(faults))


def _split_of(path: str) -> Split | None:
    return split_word(stem_of(path)) or split_in(path)


BOXES = Format(
    "a folder of images with CSV files of their boxes (filename,width,height,class,xmin,ymin,xmax,ymax)",
    is_box_folder,
    read_box_folder,
    "detect",
    ("group",),
)
LABELS = Format(
    "a folder of images with CSV files of their labels (path,label or id,label)",
    is_list_folder,
    read_list_folder,
    options=("group",),
)

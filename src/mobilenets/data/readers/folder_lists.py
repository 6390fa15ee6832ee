"""Reads folders whose labels or boxes are in CSV files, as TensorFlow, Roboflow and Kaggle have them.

The lists may be beside the images, above them or in another folder; a list named after a split (`train_labels.csv`), or
in its folder, is of that split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mobilenets.data.entries import Entry, Listing, all_or_none, in_order, split_in, split_word
from mobilenets.data.faults import Fault
from mobilenets.data.readers.box_lists import has_box_columns, read_box_list
from mobilenets.data.readers.folders import are_parts, has_classes
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.label_tables import label_lists, tables
from mobilenets.data.readers.lists import read_list
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.walk import Tree, stem_of
from mobilenets.errors import DataError
from mobilenets.specs.model import Task


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
    """Whether a folder has no class folders, or parts that are only numbered, and tables of labels for its images."""
    tree = source.tree
    return tree is not None and (not has_classes(tree) or are_parts(tree)) and bool(label_lists(tree))


def read_list_folder(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder's lists, with their labels.

    Raises:
        DataError: a list cannot be read, or its images are not there; the message names it.
    """
    tree = _tree(source)
    return _together(
        tree, label_lists(tree), lambda path: read_list(tree.root / path, group=asked.group, tree=tree), "classify"
    )


def _tree(source: Source) -> Tree:
    if source.tree is None:
        raise DataError(f"'{source.text}' is not a folder")
    return source.tree


def _box_lists(tree: Tree) -> list[str]:
    return [path for path in tables(tree) if has_box_columns(tree.root / path)]


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
        notes += [note for note in listing.notes if note not in notes]
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
                raise DataError(f"'{tree.root / path}': '{name}' is labeled '{first.label}' and '{entry.label}'")
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
    "a folder of images with CSV files of their labels (path,label or id,label, or a column of 0 and 1 for each class)",
    is_list_folder,
    read_list_folder,
    options=("group",),
)

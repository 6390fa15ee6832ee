"""Reads Tiny ImageNet: train/ with a folder per class, and val/ with one folder of images and a list of their classes."""

from __future__ import annotations

from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, read_text
from mobilenets.errors import DataError

_LIST = "val/val_annotations.txt"


def is_tiny_imagenet(source: Source) -> bool:
    """Whether a folder has Tiny ImageNet's list of classes in val/, and train/ beside it."""
    return source.tree is not None and _LIST in source.tree and "train" in source.tree.folders


def read_tiny_imagenet(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of train and val with their classes; those of test, which have none, are left out.

    Raises:
        DataError: a line of the list is damaged, or there are no images.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=f"expected train/CLASS/images/ and {_LIST}")
    entries = [
        Entry(tree.root / path, path.split("/")[1], path, "train") for path in tree.images("train") if path.count("/") > 1
    ]
    text = read_text(tree.root / _LIST)
    faults = [*tree.faults, *text.faults(_LIST)]
    for line, words in enumerate((row.split("\t") for row in text.lines), start=1):
        if words == [""]:
            continue
        where = f"'{tree.root / _LIST}' line {line}"
        if len(words) < 2:
            raise DataError(f"{where} has no class", hint="expected the name of an image, a tab, and its class")
        path = f"val/images/{words[0].strip()}"
        if path in tree:
            entries.append(Entry(tree.root / path, class_name(words[1], where), path, "val"))
        else:
            faults.append(Fault("stray", f"names '{words[0].strip()}', which is not in val/images, on line {line}", _LIST))
    if not entries:
        raise DataError(f"'{source.text}' has no images in train/ and val/")
    labels = in_order(entry.label for entry in entries)
    return Listing(tuple(entries), labels, tree.root.resolve().name, faults=tuple(faults))


FORMAT = Format("Tiny ImageNet, with train/ and val/val_annotations.txt", is_tiny_imagenet, read_tiny_imagenet)

"""Reads datasets with a mask file for each object, such as the nuclei of the Data Science Bowl 2018.

- a folder for each image, with the image in `images/` and one file for each of its objects in `masks/`
- `images/a.png` and the files of its objects in `masks/a/`
- `a.png` beside `a_mask.png`, `a_mask_1.png` and so on
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from mobilenets.data import masks, regions
from mobilenets.data.entries import Entry, Listing, all_or_none, split_in, split_word
from mobilenets.data.faults import Fault
from mobilenets.data.masks import Mask
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_objects import NO_OBJECT, Outlined, drawn
from mobilenets.data.readers.pairing import MASKS
from mobilenets.data.source import Source
from mobilenets.data.walk import IMAGES, SUFFIXES, Tree, below, stem_of, suffix_of
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.cores import cores
from mobilenets.runtime.images.decode import upright_size

OBJECT = "object"
"""The class of all objects, which have no names."""

_NUMBERED = re.compile(r"(.+)[_ -]masks?([_-]?\d+)?", re.IGNORECASE)
_LEAST = 2  # fewest objects in some image: with one mask per image, the folder is an ordinary one


@dataclass(frozen=True, slots=True)
class Group:
    """An image and the files of its objects, as paths in the dataset's folder."""

    image: str
    objects: tuple[str, ...]


def is_instances(source: Source) -> bool:
    """Whether each image has a folder of masks, one for each of several objects."""
    return source.tree is not None and any(len(group.objects) >= _LEAST for group in groups(source.tree))


def read_instances(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder with masks in which all objects have the same class.

    An object's file that cannot be read, or whose size differs from the image's, is left out and reported. An image without any
    other file is left out too.

    Args:
        source: a folder with one of the layouts above.
        asked: not used.

    Raises:
        DataError: it is no such folder, or no file of an object can be read.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint="expected a folder for each image, with images/ and masks/")
    found = list(groups(tree))
    with ThreadPoolExecutor(cores(), thread_name_prefix="masks") as pool:
        read = list(pool.map(partial(_read, tree), found))
    drawable = [(group.image, mask) for group, (mask, _) in zip(found, read, strict=True) if mask is not None]
    if not drawable:
        raise DataError(f"no mask of an object in '{source.text}' can be read")
    splits = all_or_none(split_in(image) or split_word(image.partition("/")[0]) for image, _ in drawable)
    entries = tuple(
        Entry(tree.root / image, "", image, split, mask=mask) for (image, mask), split in zip(drawable, splits, strict=True)
    )
    listed = {path for group in found for path in (group.image, *group.objects)}
    holders = {group.image.rpartition("/")[0] for group in found}
    bare = [
        path for path in tree.images() if path not in listed and (path.rpartition("/")[0] in holders or _is_in(path, IMAGES))
    ]
    faults = [Fault("unannotated", "has no mask and is left out", image) for image in bare]
    faults += [fault for _, faults in read for fault in faults]
    files = sum(len(group.objects) for group in found)
    notes = (f"{files:,} files of objects are the class '{OBJECT}' of {len(found):,} masks",)
    name = tree.root.resolve().name
    return Listing(entries, (NO_OBJECT, OBJECT), name, notes, task="segment", faults=(*tree.faults, *faults))


def groups(tree: Tree) -> Iterator[Group]:
    """The images with a folder of masks each, in the order of the folders."""
    for folder in tree.folders:
        yield from _beside(tree, folder)
        inner = tree.inner(folder)
        images, holder = (next((inner[name] for name in inner if name in names), None) for names in (IMAGES, MASKS))
        if images is None or holder is None:
            continue
        own, objects = _files(tree, images), _files(tree, holder)
        if len(own) == 1 and objects and (len(objects) > 1 or stem_of(objects[0]) != stem_of(own[0])):
            yield Group(own[0], tuple(objects))
        by_stem = {stem_of(path): path for path in own}
        for name in tree.folders[holder].folders:
            image = by_stem.get(name)
            if image is not None and (files := _files(tree, below(holder, name))):
                yield Group(image, tuple(files))


def _beside(tree: Tree, folder: str) -> Iterator[Group]:
    """The images in a folder with masks beside them, if some image has several, which are numbered from the second on."""
    own = _files(tree, folder)
    numbered: dict[str, list[str]] = {}
    for path in own:
        match = _NUMBERED.fullmatch(stem_of(path))
        if match is not None:
            numbered.setdefault(match[1], []).append(path)
    if any(len(paths) >= _LEAST for paths in numbered.values()):
        yield from (Group(path, tuple(numbered[stem_of(path)])) for path in own if stem_of(path) in numbered)


def _files(tree: Tree, folder: str) -> list[str]:
    """The images directly in a folder."""
    return [below(folder, name) for name in tree.folders[folder].files if suffix_of(name) in SUFFIXES]


def _is_in(path: str, names: frozenset[str]) -> bool:
    return not names.isdisjoint(path.lower().split("/")[:-1])


def _read(tree: Tree, group: Group) -> tuple[Mask | None, Sequence[Fault]]:
    """The mask of an image's objects, None if none of them can be read, and what was left out."""
    try:
        width, height = upright_size(tree.root / group.image)
    except ImageError:
        return Mask(width=1, height=1), ()  # the image is reported as broken when it is decoded
    within = np.zeros((height, width), np.bool_)
    faults = []
    for path in group.objects:
        try:
            pixels = masks.stored(Mask(tree.root / path))
        except ImageError:
            faults.append(Fault("contradiction", "is a mask that cannot be read; it is left out", path))
            continue
        if pixels.shape != within.shape:
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"
            message = f"is a mask of {size}, but its image is {width} x {height}; it is left out"
            faults.append(Fault("contradiction", message, path))
            continue
        within |= pixels != 0
    if len(faults) == len(group.objects):
        return None, faults
    return drawn([Outlined(OBJECT, regions.from_pixels(0, within), 0.0)], (width, height), {OBJECT: 1}), faults


FORMAT = Format(
    "a folder for each image, with the image in images/ and a mask for each of its objects in masks/",
    is_instances,
    read_instances,
    "segment",
)

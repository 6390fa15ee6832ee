"""Reads images in one folder with masks of the same names in another, with or without split folders above or below.

- `{train,val,test}/{images,masks}`
- `images/` and `masks/`, each with or without `{train,val,test}/` below
- `{train,val,test}` and `{train,val,test}annot`, or `train_labels`, `train_masks`
- `a.jpg` and `a_mask.png` in one folder
- a folder for each image, with `image.png` and `mask.png`
- two folders of any other names, one with photos and the other with files that have few different values
"""

from __future__ import annotations

import re

from mobilenets.data.entries import Entry, Listing, all_or_none
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_classes import find_classes
from mobilenets.data.readers.mask_pairs import Pair, bare_stem, is_beside, pairs, without_common_words
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.text import some
from mobilenets.data.walk import Tree, stem_of
from mobilenets.errors import DataError

_LAYOUT = "expected images/ and masks/ with files of the same names, below train/, val/ and test/ or not"

_ADE_PARTS = re.compile(r"ADE_\w+_parts_1\.png$")  # beside ADE_train_1.jpg and ADE_train_1_seg.png

_Matched = list[tuple[str, str, Split | None]]


def is_masked(source: Source) -> bool:
    """Whether there are folders of images beside folders of masks."""
    return source.tree is not None and bool(pairs(source.tree))


def read_masked(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder and their masks. `mask_classes` says which value is which class.

    An image without a mask, or a mask without an image, is left out and reported.

    Args:
        source: a folder with one of the layouts above.
        asked: the classes, which are looked for in the folder by default, and the classes to ignore.

    Raises:
        DataError: no image has a mask, or the classes are not valid.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=_LAYOUT)
    _refuse_whole_ade(tree)
    both: _Matched = []
    faults = list(tree.faults)
    for pair in pairs(tree):
        matched, missing = _matched(tree, pair)
        both += matched
        faults += missing
    if not both:
        raise DataError(f"no image in '{source.text}' has a mask with its name", hint=_LAYOUT)
    known = find_classes(tree.root, [tree.root / mask for _, mask, _ in both], classes=asked.classes, ignore=asked.ignore)
    splits = all_or_none(split for _, _, split in both)
    entries = tuple(
        Entry(tree.root / image, "", image, split, mask=known.mask(tree.root / mask))
        for (image, mask, _), split in zip(both, splits, strict=True)
    )
    name = tree.root.resolve().name
    return Listing(entries, known.labels, name, known.notes, task="segment", colors=known.colors, faults=tuple(faults))


def _refuse_whole_ade(tree: Tree) -> None:
    """Refuse the full release of ADE20K, whose masks hold numbers of thousands of classes in two channels."""
    path = next((path for path in tree.with_suffix(".png") if _ADE_PARTS.search(path)), None)
    if path is not None:
        message = f"'{tree.root / path}' is of the full ADE20K, whose masks hold 3,000 classes; a mask of 8 bits holds 255"
        raise DataError(message, hint="use its benchmark of 150 classes, ADEChallengeData2016")


def _matched(tree: Tree, pair: Pair) -> tuple[_Matched, list[Fault]]:
    """The images that have a mask of their name, and the files that have no counterpart."""
    if pair.images == pair.masks:
        own = [path for path in tree.images(pair.images) if path.rpartition("/")[0] == pair.images]
        images = _by_stem(tree, pair.images, [path for path in own if not is_beside(stem_of(path))])
        masks = _by_stem(tree, pair.masks, [path for path in own if is_beside(stem_of(path))])
    else:
        images = _by_stem(tree, pair.images, tree.images(pair.images))
        masks = _by_stem(tree, pair.masks, tree.images(pair.masks))
    if pair.images == pair.masks and len(images) == len(masks) == 1:  # a folder for each image, as 1/image.png and 1/mask.png
        masks = dict.fromkeys(images, *masks.values())
    if _are_strangers(images, masks):
        images, masks = _without_folders(tree, pair.images, images), _without_folders(tree, pair.masks, masks)
    if _are_strangers(images, masks):
        images, masks = without_common_words(images), without_common_words(masks)
    bare: dict[str, str] = {}
    for stem, path in masks.items():
        bare.setdefault(bare_stem(stem), path)
    matched: _Matched = []
    used = set()
    faults = []
    for stem, image in images.items():
        mask = masks.get(stem) or bare.get(stem) or bare.get(bare_stem(stem))
        if mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image))
        else:
            matched.append((image, mask, pair.split))
            used.add(mask)
    strays = sorted(path for path in masks.values() if path not in used)
    faults += [Fault("stray", "is a mask without an image and is left out", path) for path in strays]
    return matched, faults


def _are_strangers(images: dict[str, str], masks: dict[str, str]) -> bool:
    """Whether no mask has the name of an image."""
    return images.keys().isdisjoint(masks) and images.keys().isdisjoint(map(bare_stem, masks))


def _by_stem(tree: Tree, folder: str, paths: list[str]) -> dict[str, str]:
    """Images by their path below the folder, without its ending.

    Raises:
        DataError: two images have the same path but for the ending.
    """
    by_name: dict[str, str] = {}
    for path in paths:
        stem = path.removeprefix(f"{folder}/").rpartition(".")[0]
        if stem in by_name:
            both = f"'{tree.root / by_name[stem]}' and '{tree.root / path}'"
            raise DataError(f"{both} have the same name apart from the extension", hint="rename or remove one")
        by_name[stem] = path
    return by_name


def _without_folders(tree: Tree, folder: str, by_stem: dict[str, str]) -> dict[str, str]:
    """Images by their names, without folders.

    Raises:
        DataError: two images have the same name, as when every class has its own mask.
    """
    by_bare_name: dict[str, str] = {}
    for stem, image in by_stem.items():
        name = stem.rpartition("/")[2]
        if name in by_bare_name:
            folders = some(sorted({path.rpartition("/")[0] for path in by_stem.values()}))
            message = f"'{tree.root / folder}' holds several files called '{name}', in {folders}"
            raise DataError(message, hint="a mask per class is not read; write one mask per image, with a value for each class")
        by_bare_name[name] = image
    return by_bare_name


FORMAT = Format(
    "a folder with images/ and masks/, below train/, val/, test/ or not",
    is_masked,
    read_masked,
    "segment",
    ("classes", "ignore"),
)

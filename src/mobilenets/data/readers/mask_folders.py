"""Images in one folder, their masks of the same names in another, with or without split folders above or below.

- `{train,val,test}/{images,masks}`
- `images/` and `masks/`, each with or without `{train,val,test}/` below
- `{train,val,test}` and `{train,val,test}annot`, or `train_labels`, `train_masks`
- `a.jpg` and `a_mask.png` in one folder
- two folders of other names, of which one holds photos and the other files of few values
"""

from __future__ import annotations

from mobilenets.data.entries import Entry, Listing, all_or_none
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_classes import find_classes
from mobilenets.data.readers.mask_pairs import Pair, bare_stem, is_beside, pairs
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.text import some
from mobilenets.data.walk import Tree, stem_of
from mobilenets.errors import DataError

_LAYOUT = "expected images/ and masks/ with files of the same names, below train/, val/ and test/ or not"

_Matched = list[tuple[str, str, Split | None]]


def is_masked(source: Source) -> bool:
    """Whether there are folders of images beside folders of masks."""
    return source.tree is not None and bool(pairs(source.tree))


def read_masked(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a folder with their masks. See `mask_classes` for which value is which class.

    An image without a mask and a mask without an image are left out and named.

    Args:
        source: a folder with one of the layouts above.
        asked: with the classes, by default looked for in the folder, and what is not counted.

    Raises:
        DataError: no image has a mask, or the classes make no sense.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=_LAYOUT)
    both: _Matched = []
    faults = list(tree.faults)
    for pair in pairs(tree):
        matched, missing = _matched(tree, pair)
        both += matched
        faults += missing
    if not both:
        raise DataError(f"no image in '{source.text}' has a mask of its name", hint=_LAYOUT)
    known = find_classes(tree.root, [tree.root / mask for _, mask, _ in both], classes=asked.classes, ignore=asked.ignore)
    splits = all_or_none(split for _, _, split in both)
    entries = tuple(
        Entry(tree.root / image, "", image, split, mask=known.mask(tree.root / mask))
        for (image, mask, _), split in zip(both, splits, strict=True)
    )
    name = tree.root.resolve().name
    return Listing(entries, known.labels, name, known.notes, task="segment", colors=known.colors, faults=tuple(faults))


def _matched(tree: Tree, pair: Pair) -> tuple[_Matched, list[Fault]]:
    """Images with their masks by name, and those without."""
    if pair.images == pair.masks:
        own = [path for path in tree.images(pair.images) if path.rpartition("/")[0] == pair.images]
        images = _by_stem(tree, pair.images, [path for path in own if not is_beside(stem_of(path))])
        masks = _by_stem(tree, pair.masks, [path for path in own if is_beside(stem_of(path))])
    else:
        images = _by_stem(tree, pair.images, tree.images(pair.images))
        masks = _by_stem(tree, pair.masks, tree.images(pair.masks))
    if images.keys().isdisjoint(masks) and images.keys().isdisjoint(map(bare_stem, masks)):
        images, masks = _without_folders(tree, pair.images, images), _without_folders(tree, pair.masks, masks)
    bare: dict[str, str] = {}
    for stem, path in masks.items():
        bare.setdefault(bare_stem(stem), path)
    found: _Matched = []
    used = set()
    faults = []
    for stem, image in images.items():
        mask = masks.get(stem) or bare.get(stem) or bare.get(bare_stem(stem))
        if mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image))
        else:
            found.append((image, mask, pair.split))
            used.add(mask)
    strays = sorted(path for path in masks.values() if path not in used)
    faults += [Fault("stray", "is a mask without an image and is left out", path) for path in strays]
    return found, faults


def _by_stem(tree: Tree, folder: str, paths: list[str]) -> dict[str, str]:
    """Images by their path below the folder without ending.

    Raises:
        DataError: two have the same.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem = path.removeprefix(f"{folder}/").rpartition(".")[0]
        if stem in found:
            both = f"'{tree.root / found[stem]}' and '{tree.root / path}'"
            raise DataError(f"{both} have the same name but for the ending", hint="rename or remove one")
        found[stem] = path
    return found


def _without_folders(tree: Tree, folder: str, by_stem: dict[str, str]) -> dict[str, str]:
    """Images by their names alone.

    Raises:
        DataError: two have the same, as where there is a mask for each class.
    """
    found: dict[str, str] = {}
    for stem, path in by_stem.items():
        name = stem.rpartition("/")[2]
        if name in found:
            folders = some(sorted({one.rpartition("/")[0] for one in by_stem.values()}))
            message = f"'{tree.root / folder}' holds several files called '{name}', in {folders}"
            raise DataError(message, hint="a mask per class is not read; write one mask per image, with a value for each class")
        found[name] = path
    return found


FORMAT = Format(
    "a folder with images/ and masks/, below train/, val/, test/ or not",
    is_masked,
    read_masked,
    "segment",
    ("classes", "ignore"),
)

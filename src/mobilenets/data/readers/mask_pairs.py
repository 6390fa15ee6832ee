"""Finds folders of images and the folders of their masks, by their names or by what the files look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from mobilenets.data.entries import SPLIT_WORDS, split_in
from mobilenets.data.readers.pairing import MASKS
from mobilenets.data.samples import Split
from mobilenets.data.walk import IMAGES, Tree, below, stem_of
from mobilenets.runtime.images.decode import DECODE_ERRORS

ENDINGS = (
    "_mask", "-mask", " mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_l", "_labelids", "_annotation",
    "_groundtruth",
)  # fmt: skip
"""Endings that the name of a mask may add to the name of its image, in lower case."""

_OF_MASKS = ("_mask", "-mask", " mask", "_masks", "_seg", "_segmentation", "_labelids", "_groundtruth")  # beside the image
_ALONE = frozenset(("mask", "label", "gt", "seg", "segmentation", "annotation"))  # whole names, beside image.png
_BESIDE = ("annot", "_annot", "_annotations", "_labels", "_label", "_masks", "_mask", "_gt", "-masks", "-labels")
_GLANCED = 5  # number of file pairs that are examined to decide which folder holds masks
_FEW = 40  # most different values in a mask; photos have more
_ALIKE = 0.6  # minimum share of names that two folders have in common


@dataclass(frozen=True, slots=True)
class Pair:
    """A folder of images and the folder of their masks; both are the same if images and masks are side by side.

    Args:
        images, masks: the folders, as paths relative to the dataset's.
        split: the split of all their images; None if the dataset does not say.
    """

    images: str
    masks: str
    split: Split | None


def pairs(tree: Tree) -> list[Pair]:
    """The folders of images and their masks, in a fixed order; empty if there are none."""
    named = [pair for folder in tree.folders for pair in _named(tree, folder)]
    if not named:
        named = [pair for folder in tree.folders for pair in _by_split_names(tree, folder)]
    if not named:
        named = [Pair(folder, folder, split_in(f"{folder}/")) for folder in tree.folders if _side_by_side(tree, folder)]
    return named or [pair for folder in tree.folders if folder.count("/") < 2 for pair in _by_content(tree, folder)]


def bare_stem(stem: str) -> str:
    """The name of a mask without its ending of `ENDINGS`: the name of its image.

    >>> bare_stem("a_mask"), bare_stem("a")
    ('a', 'a')
    """
    ending = next((word for word in ENDINGS if stem.lower().endswith(word)), "")
    return stem[: len(stem) - len(ending)] if ending else stem


def without_common_words(by_stem: Mapping[str, str]) -> dict[str, str]:
    """Files by the part in which their names differ: 007 for img_007 among img_001, img_002, and so on.

    >>> without_common_words({"img_07_rgb": "a", "img_08_rgb": "b"})
    {'07': 'a', '08': 'b'}
    """
    before = len(_common_start(list(by_stem)))
    after = len(_common_start([stem[before:][::-1] for stem in by_stem]))
    kept = {stem[before : len(stem) - after]: path for stem, path in by_stem.items()}
    return kept if len(kept) == len(by_stem) and "" not in kept else dict(by_stem)


def _common_start(words: Sequence[str]) -> str:
    """The common start of all words, without digits at its end, which belong to numbers."""
    first, last = min(words, default=""), max(words, default="")
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length].rstrip("0123456789")


def is_beside(stem: str) -> bool:
    """Whether a file's name alone says that it is a mask."""
    return stem.lower().endswith(_OF_MASKS) or stem.lower() in _ALONE


def _named(tree: Tree, folder: str) -> list[Pair]:
    """Folders called images/ and masks/, or the like, in one folder."""
    inner = tree.inner(folder)
    images = [path for name, path in inner.items() if name in IMAGES and tree.images(path)]
    masks = [path for name, path in inner.items() if name in MASKS and tree.images(path)]
    if len(images) != 1 or len(masks) != 1:
        return []
    split = split_in(f"{folder}/")
    if split is not None:
        return [Pair(images[0], masks[0], split)]
    images_of, masks_of = _by_split(tree, images[0]), _by_split(tree, masks[0])
    splits = [split for split in images_of if split in masks_of]
    return [Pair(images_of[split], masks_of[split], split) for split in splits] or [Pair(images[0], masks[0], None)]


def _by_split(tree: Tree, folder: str) -> dict[Split, str]:
    """The folders in a folder that are called like a split."""
    return {SPLIT_WORDS[name]: path for name, path in tree.inner(folder).items() if name in SPLIT_WORDS}


def _by_split_names(tree: Tree, folder: str) -> list[Pair]:
    """Folders called train/ and train_masks/, or the like."""
    inner = tree.inner(folder)
    folder_pairs = []
    for name, images in inner.items():
        masks = next((inner[name + word] for word in _BESIDE if name + word in inner), None)
        if name in SPLIT_WORDS and masks is not None and tree.images(masks) and tree.images(images):
            folder_pairs.append(Pair(images, masks, SPLIT_WORDS[name]))
    return folder_pairs


def _side_by_side(tree: Tree, folder: str) -> bool:
    """Whether half of a folder's images have a mask beside them, as a.jpg and a_mask.png."""
    stems = [stem_of(path) for path in tree.images(folder) if path.rpartition("/")[0] == folder]
    images = {stem for stem in stems if not is_beside(stem)}
    if len(stems) == 2 and {stem.lower() for stem in stems} <= _ALONE | IMAGES | {"photo", "picture"}:
        return len(images) == 1  # image.png and mask.png
    masked = {bare_stem(stem) for stem in stems if is_beside(stem)}
    if images.isdisjoint(masked):  # 7_sat.jpg and 7_mask.png
        images = set(without_common_words({stem: stem for stem in images}))
    return bool(masked & images) and 2 * len(masked & images) >= len(images)


def _by_content(tree: Tree, folder: str) -> Iterator[Pair]:
    """Two folders with files of the same names, if the files of exactly one look like masks."""
    inner = [below(folder, name) for name in tree.folders[folder].folders]
    if len(inner) != 2:
        return
    first, second = ({bare_stem(stem_of(path)): path for path in tree.images(side)} for side in inner)
    common = sorted(first.keys() & second.keys())
    named = [not MASKS.isdisjoint(re.findall("[a-z]+", side.lower())) for side in inner]  # ISIC_Data and ISIC_GroundTruth
    most = min if named[0] != named[1] else max
    if not common or len(common) < _ALIKE * most(len(first), len(second)):
        return
    glanced = common[:: max(1, len(common) // _GLANCED)][:_GLANCED]
    looks = [(_look(tree, first[stem]), _look(tree, second[stem])) for stem in glanced]
    if any(left is None or right is None or left.size != right.size for left, right in looks):
        return
    few = [all(look is not None and look.few for look in side) for side in zip(*looks, strict=True)]
    if few[0] != few[1]:
        images, masks = (inner[1], inner[0]) if few[0] else (inner[0], inner[1])
        yield Pair(images, masks, split_in(f"{folder}/"))


class _Look(NamedTuple):
    """The size of an image, width and height, and whether it has as few values as a mask."""

    size: tuple[int, int]
    few: bool


def _look(tree: Tree, path: str) -> _Look | None:
    """The size and kind of an image; None if it cannot be read."""
    try:
        with Image.open(tree.root / path) as image:
            size = image.size
            image.thumbnail((256, 256), Image.Resampling.NEAREST)
            pixels = np.asarray(image if image.mode in ("P", "L", "1", "I", "I;16") else image.convert("RGB"))
    except DECODE_ERRORS:
        return None
    values = np.unique(pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.ravel(), axis=0)
    return _Look(size, len(values) <= _FEW and pixels.shape[0] * pixels.shape[1] > 4 * len(values))

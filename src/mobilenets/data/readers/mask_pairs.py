"""Folders of images with the folders of their masks: told by their names, or by what the files look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
"""What the name of a mask has more than that of its image, lower case."""

_OF_MASKS = ("_mask", "-mask", " mask", "_masks", "_seg", "_segmentation", "_labelids", "_groundtruth")  # beside the image
_BESIDE = ("annot", "_annot", "_annotations", "_labels", "_label", "_masks", "_mask", "_gt", "-masks", "-labels")
_GLANCED = 5  # pairs of files that tell whether a folder holds masks
_FEW = 40  # different values of a mask; photos have more
_ALIKE = 0.6  # share of names that two folders must have in common


@dataclass(frozen=True, slots=True)
class Pair:
    """A folder of images with the folder of their masks; the same one where they lie side by side.

    Args:
        images, masks: the folders, as paths below the dataset's.
        split: of all that is in them; None where the data leaves it open.
    """

    images: str
    masks: str
    split: Split | None


def pairs(tree: Tree) -> list[Pair]:
    """The folders of images with those of masks, in a fixed order; empty where there are none."""
    named = [pair for folder in tree.folders for pair in _named(tree, folder)]
    if not named:
        named = [pair for folder in tree.folders for pair in _by_split_names(tree, folder)]
    if not named:
        named = [Pair(folder, folder, split_in(f"{folder}/")) for folder in tree.folders if _side_by_side(tree, folder)]
    return named or [pair for folder in tree.folders if folder.count("/") < 2 for pair in _by_content(tree, folder)]


def bare_stem(stem: str) -> str:
    """The name of a mask without what it has more than its image's.

    >>> bare_stem("a_mask"), bare_stem("a")
    ('a', 'a')
    """
    ending = next((word for word in ENDINGS if stem.lower().endswith(word)), "")
    return stem[: len(stem) - len(ending)] if ending else stem


def is_beside(stem: str) -> bool:
    """Whether a name says of itself that the file is a mask."""
    return stem.lower().endswith(_OF_MASKS)


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
    below_images, below_masks = (
        {SPLIT_WORDS.get(name): path for name, path in tree.inner(one).items()} for one in (images[0], masks[0])
    )
    splits = [one for one in below_images if one is not None and one in below_masks]
    return [Pair(below_images[one], below_masks[one], one) for one in splits] or [Pair(images[0], masks[0], None)]


def _by_split_names(tree: Tree, folder: str) -> list[Pair]:
    """Folders called train/ and train_masks/, or the like."""
    inner = tree.inner(folder)
    found = []
    for name, path in inner.items():
        split = SPLIT_WORDS.get(name)
        if split is None:
            continue
        masks = [inner[name + word] for word in _BESIDE if name + word in inner]
        found += [Pair(path, one, split) for one in masks[:1] if tree.images(one) and tree.images(path)]
    return found


def _side_by_side(tree: Tree, folder: str) -> bool:
    """Whether half of a folder's images have a mask beside them, as a.jpg and a_mask.png."""
    stems = [stem_of(path) for path in tree.images(folder) if path.rpartition("/")[0] == folder]
    images = {stem for stem in stems if not is_beside(stem)}
    masked = {bare_stem(stem) for stem in stems if is_beside(stem)}
    return bool(masked & images) and 2 * len(masked & images) >= len(images)


def _by_content(tree: Tree, folder: str) -> Iterator[Pair]:
    """Two folders with files of the same names, of which only one side looks like masks."""
    inner = [below(folder, name) for name in tree.folders[folder].folders]
    if len(inner) != 2:
        return
    files = [{bare_stem(stem_of(path)): path for path in tree.images(one)} for one in inner]
    common = sorted(files[0].keys() & files[1].keys())
    if not common or len(common) < _ALIKE * max(len(one) for one in files):
        return
    looks = [[_look(tree, one[stem]) for stem in common[:: max(1, len(common) // _GLANCED)][:_GLANCED]] for one in files]
    if any(one is None or other is None or one[0] != other[0] for one, other in zip(*looks, strict=True)):
        return
    few = [all(look is not None and look[1] for look in one) for one in looks]
    if few[0] != few[1]:
        images, masks = (inner[1], inner[0]) if few[0] else (inner[0], inner[1])
        yield Pair(images, masks, split_in(f"{folder}/"))


def _look(tree: Tree, path: str) -> tuple[tuple[int, int], bool] | None:
    """The size of an image, and whether it has as few values as a mask; None where it cannot be read."""
    try:
        with Image.open(tree.root / path) as image:
            size = image.size
            image.thumbnail((256, 256), Image.Resampling.NEAREST)
            pixels = np.asarray(image if image.mode in ("P", "L", "1", "I", "I;16") else image.convert("RGB"))
    except DECODE_ERRORS:
        return None
    values = np.unique(pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.ravel(), axis=0)
    return size, len(values) <= _FEW and pixels.shape[0] * pixels.shape[1] > 4 * len(values)

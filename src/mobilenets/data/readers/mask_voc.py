"""Reads Pascal VOC's segmentation: JPEGImages/, SegmentationClass/ with palette images, ImageSets/Segmentation/ with splits.

CVAT's "Segmentation mask" and labelme's VOC export have this layout too, with a file of class names.
"""

from __future__ import annotations

from dataclasses import replace

from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_classes import FILES, find_classes
from mobilenets.data.readers.voc_sets import read_sets
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.walk import SUFFIXES, Tree, below, stem_of, suffix_of
from mobilenets.errors import DataError

VOC_LABELS = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The classes of the challenges of 2007 to 2012; 255 is ignored."""

_CHALLENGES = frozenset(("voc2007", "voc2008", "voc2009", "voc2010", "voc2011", "voc2012"))
_IMAGES, _MASKS = ("JPEGImages", "Images"), "SegmentationClass"
_LAYOUT = "expected JPEGImages/, SegmentationClass/*.png and ImageSets/Segmentation/*.txt"


def is_voc_masks(source: Source) -> bool:
    """Whether there is a folder SegmentationClass with images in it, beside a folder of images."""
    return source.tree is not None and _base(source.tree) is not None


def read_voc_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in the split files, with their masks; without split files, all images that have a mask.

    Classes are named as in `mask_classes`. If no file names them and the folder is named after a VOC challenge (VOC2012), they
    are the challenge's classes.

    Args:
        source: the folder of one year, or the folder above it.
        asked: the classes, which are looked for in the folder by default, and the classes to ignore besides 255.

    Raises:
        DataError: no image has a mask, a file cannot be read, or the classes are not valid.
    """
    tree = source.tree
    base = _base(tree) if tree is not None else None
    if tree is None or base is None:
        raise DataError(f"'{source.text}' has no folder {_MASKS} beside its images", hint=_LAYOUT)
    images = {stem_of(path): path for name in _IMAGES for path in _images(tree, tree.child(base, name))}
    masks = {stem_of(path): path for path in _images(tree, tree.child(base, _MASKS))}
    sets = tree.resolved(below(base, "ImageSets/Segmentation"))
    splits, faults = read_sets(tree, sets, images.keys())
    faults = [*tree.faults, *faults]
    notes: list[str] = []
    if splits:
        left = masks.keys() & images.keys() - splits.keys()
        if left:
            are = "mask is" if len(left) == 1 else "masks are"
            notes.append(f"{len(left):,} {are} in no split of {sets} and left out, such as '{min(left)}'")
    else:
        splits = dict.fromkeys(sorted(masks))
    both: list[tuple[str, str, Split | None]] = []
    for stem, split in splits.items():
        image, mask = images.get(stem), masks.get(stem)
        if image is None:
            faults.append(Fault("stray", "has no image and is left out", below(base, f"{_MASKS}/{stem}")))
        elif mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image))
        else:
            both.append((image, mask, split))
    if not both:
        raise DataError(f"no image in '{source.text}' has a mask with its name", hint=_LAYOUT)
    folder = tree.root / base
    if not asked.classes and folder.resolve().name.lower() in _CHALLENGES and not any(tree.child(base, name) for name in FILES):
        asked = replace(asked, classes=VOC_LABELS)
        notes.append(f"no file names the classes; they are the 21 of {folder.resolve().name}")
    known = find_classes(folder, [tree.root / mask for _, mask, _ in both], classes=asked.classes, ignore=asked.ignore)
    entries = tuple(
        Entry(tree.root / image, "", image, split, mask=known.mask(tree.root / mask)) for image, mask, split in both
    )
    name = tree.root.resolve().name
    notes += known.notes
    return Listing(entries, known.labels, name, tuple(notes), task="segment", colors=known.colors, faults=tuple(faults))


def _base(tree: Tree) -> str | None:
    """The folder with SegmentationClass/ and images in it: the dataset's own or one below it."""
    for folder in sorted(tree.folders, key=lambda path: (path.count("/") + bool(path), path)):
        has_masks = folder.count("/") < 2 and bool(_images(tree, tree.child(folder, _MASKS)))
        if has_masks and any(tree.child(folder, name) in tree.folders for name in _IMAGES):
            return folder
    return None


def _images(tree: Tree, folder: str | None) -> list[str]:
    if folder is None or folder not in tree.folders:
        return []
    return [below(folder, name) for name in tree.folders[folder].files if suffix_of(name) in SUFFIXES]


FORMAT = Format(
    "a folder with JPEGImages/, SegmentationClass/*.png and ImageSets/Segmentation/",
    is_voc_masks,
    read_voc_masks,
    "segment",
    ("classes", "ignore"),
)

"""Reads Cityscapes: leftImg8bit/ with photos, gtFine/ with their masks, each by split and city.

Its 19 classes are those of its benchmark; all others are ignored. The masks of its test split are withheld, so that split is
left out.
"""

from __future__ import annotations

from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.source import Source
from mobilenets.data.text import counted
from mobilenets.data.walk import Tree, stem_of
from mobilenets.errors import DataError

# fmt: off
_CLASSES = (  # cityscapesScripts, helpers/labels.py: those with a trainId, in their order
    # id, name,         color
    ( 7, "road",          (128,  64, 128)),
    ( 8, "sidewalk",      (244,  35, 232)),
    (11, "building",      ( 70,  70,  70)),
    (12, "wall",          (102, 102, 156)),
    (13, "fence",         (190, 153, 153)),
    (17, "pole",          (153, 153, 153)),
    (19, "traffic light", (250, 170,  30)),
    (20, "traffic sign",  (220, 220,   0)),
    (21, "vegetation",    (107, 142,  35)),
    (22, "terrain",       (152, 251, 152)),
    (23, "sky",           ( 70, 130, 180)),
    (24, "person",        (220,  20,  60)),
    (25, "rider",         (255,   0,   0)),
    (26, "car",           (  0,   0, 142)),
    (27, "truck",         (  0,   0,  70)),
    (28, "bus",           (  0,  60, 100)),
    (31, "train",         (  0,  80, 100)),
    (32, "motorcycle",    (  0,   0, 230)),
    (33, "bicycle",       (119,  11,  32)),
)
# fmt: on
LABELS = tuple(name for _, name, _ in _CLASSES)
"""The classes of the benchmark, in the order of its trainIds."""

_OF_IDS = tuple(next((i for i, (number, _, _) in enumerate(_CLASSES) if number == value), IGNORE) for value in range(34))
_CODED = {"labeltrainids": tuple(range(len(LABELS))), "labelids": _OF_IDS}  # endings of masks, the class of each value
_PHOTO = "_leftimg8bit"
_LAYOUT = "expected leftImg8bit/train/CITY/*_leftImg8bit.png and gtFine/train/CITY/*_gtFine_labelIds.png"


def is_cityscapes(source: Source) -> bool:
    """Whether a folder has both of Cityscapes' folders."""
    return source.tree is not None and {"leftimg8bit", "gtfine"} <= source.tree.inner().keys()


def read_cityscapes(source: Source, asked: Asked = NOTHING) -> Listing:
    """The photos of train and val with their masks, _labelTrainIds.png or else _labelIds.png.

    Raises:
        DataError: no photo has a mask.
    """
    tree = source.tree
    if tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=_LAYOUT)
    masks = {stem_of(path).lower(): path for path in tree.images(tree.inner()["gtfine"])}
    faults: list[Fault] = list(tree.faults)
    entries = []
    withheld = 0
    for path in tree.images(tree.inner()["leftimg8bit"]):
        split = SPLIT_WORDS.get(path.split("/")[1].lower())
        if split == "test":
            withheld += 1
            continue
        mask = _mask_of(tree, stem_of(path).lower().removesuffix(_PHOTO), masks)
        if mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", path))
        else:
            entries.append(Entry(tree.root / path, "", path, split, mask=mask))
    if not entries:
        hint = f"{_LAYOUT}; the script csCreateTrainIdLabelImgs of cityscapesScripts draws masks from polygons"
        raise DataError(f"no photo in '{source.text}' has a mask", hint=hint)
    left = counted(withheld, "photo of test, whose mask is withheld, is", "photos of test, whose masks are withheld, are")
    notes = (f"{left} left out",) if withheld else ()
    colors = tuple(color for _, _, color in _CLASSES)
    name = tree.root.resolve().name
    return Listing(tuple(entries), LABELS, name, notes, task="segment", colors=colors, faults=tuple(faults))


def _mask_of(tree: Tree, stem: str, masks: dict[str, str]) -> Mask | None:
    found = ((masks[name], classes) for ending, classes in _CODED.items() if (name := f"{stem}_gtfine_{ending}") in masks)
    return next((Mask(tree.root / path, classes=classes) for path, classes in found), None)


FORMAT = Format("Cityscapes, with its folders leftImg8bit/ and gtFine/", is_cityscapes, read_cityscapes, "segment")

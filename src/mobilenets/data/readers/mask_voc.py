"""Pascal VOC's segmentation: JPEGImages/, SegmentationClass/ with palette images, ImageSets/Segmentation/ with the splits.

CVAT's "Segmentation mask" and labelme's VOC export are laid out so too, with a file of class names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilenets.data.entries import SUFFIXES, Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.readers.mask_classes import FILES, find_classes
from mobilenets.data.readers.voc_sets import read_sets
from mobilenets.data.samples import Split
from mobilenets.errors import DataError

VOC_LABELS = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The classes of the challenges of 2007 to 2012; 255 counts nowhere."""

_CHALLENGES = frozenset(("voc2007", "voc2008", "voc2009", "voc2010", "voc2011", "voc2012"))
_IMAGES, _MASKS, _SETS = ("JPEGImages", "Images", "images"), "SegmentationClass", ("ImageSets", "Segmentation")
_LAYOUT = "expected JPEGImages/, SegmentationClass/*.png and ImageSets/Segmentation/*.txt"


def is_voc_masks(source: str) -> bool:
    """Whether there is a folder SegmentationClass with images in it, beside one of images."""
    folder = Path(source)
    return bool(_files(folder / _MASKS)) and any((folder / name).is_dir() for name in _IMAGES)


def read_voc_masks(folder: Path, *, classes: str | Path | Sequence[str] = "", ignore: Sequence[str] = ()) -> Listing:
    """The images of the split files with their masks; without split files, all that have a mask.

    The classes are named as `mask_classes` says, and without any file as the challenge does where the folder is called
    after one (VOC2012).

    Args:
        folder: of one year.
        classes: a file of class names, or the names; by default looked for in the folder.
        ignore: names, values or colors of masks that count nowhere, besides 255.

    Raises:
        DataError: no image has a mask, a file cannot be read, or the classes make no sense.
    """
    images = {path.stem: path for name in _IMAGES for path in _files(folder / name)}
    masks = {path.stem: path for path in _files(folder / _MASKS)}
    splits, faults = read_sets(folder.joinpath(*_SETS), images.keys())
    notes: list[str] = []
    if splits:
        left = masks.keys() & images.keys() - splits.keys()
        if left:
            notes.append(f"{len(left)} masks are in no split of {'/'.join(_SETS)} and left out, such as '{min(left)}'")
    else:
        splits = dict.fromkeys(sorted(masks))
    both: list[tuple[Path, Path, Split | None]] = []
    for stem, split in splits.items():
        image, mask = images.get(stem), masks.get(stem)
        if image is None:
            faults.append(Fault("stray", "has no image and is left out", f"{_MASKS}/{stem}"))
        elif mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image.relative_to(folder).as_posix()))
        else:
            both.append((image, mask, split))
    if not both:
        raise DataError(f"no image in '{folder}' has a mask of its name", hint=_LAYOUT)
    if not classes and folder.resolve().name.lower() in _CHALLENGES and not any((folder / name).is_file() for name in FILES):
        classes = VOC_LABELS
        notes.append(f"no file names the classes; they are the 21 of {folder.resolve().name}")
    known = find_classes(folder, [mask for _, mask, _ in both], classes=classes, ignore=ignore)
    entries = tuple(
        Entry(image, "", image.relative_to(folder).as_posix(), split, mask=known.mask(mask)) for image, mask, split in both
    )
    return Listing(
        entries,
        known.labels,
        folder.resolve().name,
        (*notes, *known.notes),
        task="segment",
        colors=known.colors,
        faults=tuple(faults),
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")

"""Images in one folder, their masks of the same names in another, with or without split folders above or below.

- `{train,val,test}/{images,masks}`
- `images/` and `masks/`, each with or without `{train,val,test}/` below
- `{train,val,test}` and `{train,val,test}annot`, or `train_labels`, `train_masks`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, image_files
from mobilenets.data.faults import Fault
from mobilenets.data.readers.mask_classes import find_classes
from mobilenets.data.samples import Split
from mobilenets.errors import DataError

IMAGES = frozenset(("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb", "input", "inputs"))
"""What people call the folder of images, lower case."""

MASKS = frozenset((
    "masks", "mask", "labels", "label", "annotations", "annotation", "annot", "ann", "segmentation", "segmentations",
    "segmentationclass", "gt", "groundtruth", "ground_truth", "targets", "target",
))  # fmt: skip
"""What people call the folder of masks, lower case."""

_BESIDE = ("annot", "_annot", "_annotations", "_labels", "_label", "_masks", "_mask", "_gt")
_ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_l", "_labelids", "_annotation")
_LAYOUT = "expected images/ and masks/ with files of the same names, below train/, val/ and test/ or not"


@dataclass(frozen=True, slots=True)
class Pair:
    """A folder of images with the folder of their masks.

    Args:
        images, masks: the folders.
        split: of all that is in them; None where the data leaves it open.
    """

    images: Path
    masks: Path
    split: Split | None


def is_masked(source: str) -> bool:
    """Whether there are folders of images beside folders of masks."""
    folder = Path(source)
    return folder.is_dir() and bool(pairs(folder))


def read_masked(folder: Path, *, classes: str | Path | Sequence[str] = "", ignore: Sequence[str] = ()) -> Listing:
    """The images of a folder with their masks. See `mask_classes` for which value is which class.

    An image without a mask and a mask without an image are left out and named.

    Args:
        folder: with one of the layouts above.
        classes: a file of class names, or the names; by default looked for in the folder.
        ignore: names, values or colors of masks that count nowhere.

    Raises:
        DataError: no image has a mask, or the classes make no sense.
    """
    both: list[tuple[Path, Path, Split | None]] = []
    faults: list[Fault] = []
    for pair in pairs(folder):
        found, missing = _matched(pair, folder)
        both += found
        faults += missing
    if not both:
        raise DataError(f"no image in '{folder}' has a mask of its name", hint=_LAYOUT)
    known = find_classes(folder, [mask for _, mask, _ in both], classes=classes, ignore=ignore)
    entries = tuple(
        Entry(image, "", image.relative_to(folder).as_posix(), split, mask=known.mask(mask)) for image, mask, split in both
    )
    name = folder.resolve().name
    return Listing(entries, known.labels, name, known.notes, task="segment", colors=known.colors, faults=tuple(faults))


def pairs(folder: Path) -> list[Pair]:
    """The folders of images with those of masks, in a fixed order; empty where there are none."""
    below = _folders(folder)
    by_split = [(path, split) for name, path in below.items() if (split := SPLIT_WORDS.get(name)) is not None]
    inner = [pair for path, split in by_split for pair in _pair(_folders(path), split)]
    if inner:
        return inner
    for path, split in by_split:
        beside = [below[path.name.lower() + word] for word in _BESIDE if path.name.lower() + word in below]
        inner += [Pair(path, masks, split) for masks in beside[:1] if _holds_images(masks) and _holds_images(path)]
    return inner or _pair(below, None)


def _pair(folders: dict[str, Path], split: Split | None) -> list[Pair]:
    images = [path for name, path in folders.items() if name in IMAGES and _holds_images(path)]
    masks = [path for name, path in folders.items() if name in MASKS and _holds_images(path)]
    if len(images) != 1 or len(masks) != 1:
        return []
    if split is not None:
        return [Pair(images[0], masks[0], split)]
    below, masked = ({SPLIT_WORDS.get(name): path for name, path in _folders(one).items()} for one in (images[0], masks[0]))
    splits = [found for found in below if found is not None and found in masked]
    return [Pair(below[one], masked[one], one) for one in splits] or [Pair(images[0], masks[0], None)]


def _matched(pair: Pair, folder: Path) -> tuple[list[tuple[Path, Path, Split | None]], list[Fault]]:
    """Images with their masks by name, and those without."""
    images, masks = _by_stem(pair.images), _by_stem(pair.masks)
    bare: dict[str, Path] = {}
    for stem, path in masks.items():
        ending = next((word for word in _ENDINGS if stem.lower().endswith(word)), "")
        bare.setdefault(stem[: len(stem) - len(ending)] if ending else stem, path)
    found, used = [], set()
    faults = []
    for stem, image in images.items():
        mask = masks.get(stem) or bare.get(stem)
        if mask is None:
            faults.append(Fault("unannotated", "has no mask and is left out", image.relative_to(folder).as_posix()))
        else:
            found.append((image, mask, pair.split))
            used.add(mask)
    strays = sorted(path for path in masks.values() if path not in used)
    faults += [
        Fault("stray", "is a mask without an image and is left out", path.relative_to(folder).as_posix()) for path in strays
    ]
    return found, faults


def _by_stem(folder: Path) -> dict[str, Path]:
    """Images below the folder by their path without ending.

    Raises:
        DataError: two have the same.
    """
    found: dict[str, Path] = {}
    for path in image_files(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(f"'{found[stem]}' and '{path}' have the same name but for the ending", hint="rename or remove one")
        found[stem] = path
    return found


def _holds_images(folder: Path) -> bool:
    return next(image_files(folder), None) is not None


def _folders(folder: Path) -> dict[str, Path]:
    """The folders in a folder by their names in lower case, sorted, without hidden ones."""
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror}") from error

"""`open_dataset`: any source of labelled images, told apart by looking at it; and a dataset's fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mobilenets.data import masks
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.readers.box_lists import is_box_list, read_box_list
from mobilenets.data.readers.coco import is_coco, read_coco
from mobilenets.data.readers.elpv import read_elpv
from mobilenets.data.readers.folders import read_folder
from mobilenets.data.readers.lists import read_list
from mobilenets.data.readers.mask_coco import read_coco_masks
from mobilenets.data.readers.mask_folders import is_masked, read_masked
from mobilenets.data.readers.mask_voc import is_voc_masks, read_voc_masks
from mobilenets.data.readers.shards import expand, read_shards, shard_files
from mobilenets.data.readers.voc import is_voc, read_voc
from mobilenets.data.readers.yolo import is_yolo, read_yolo
from mobilenets.data.remote import file_name, is_remote
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.splits import are_drawn, by_rarest, fill
from mobilenets.errors import DataError, ImageError, UsageError
from mobilenets.runtime.cores import cores
from mobilenets.specs.model import Task
from mobilenets.table import Table, did_you_mean

_MASKS_LOOKED_AT = 2000  # of larger sets any part has some of every class, and looking would take long
_BESIDE = 5000  # names that are looked through for one like that of a source that is not there


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says of a source besides where it is.

    Args:
        group: the column that names groups; None for the one called "group".
        classes: names of the classes of masks, or a file of them; "" for what the source says.
        ignore: names, values or colors of masks that count nowhere.
    """

    group: str | None = None
    classes: str | Path | Sequence[str] = ""
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """One way to keep labelled images.

    Args:
        title: what a source looks like, for messages and documentation.
        fits: whether a source looks like that.
        read: its images.
        task: what they can teach.
        options: fields of `Asked` that mean something to it.
    """

    title: str
    fits: Callable[[str], bool]
    read: Callable[[str, Asked], Listing]
    task: Task = "classify"
    options: tuple[str, ...] = ()


def open_dataset(
    source: str | Path,
    *,
    seed: int = 0,
    val: float | None = None,
    test: float | None = None,
    group: str | None = None,
    task: Task | None = None,
    classes: str | Path | Sequence[str] = "",
    ignore: Sequence[str] = (),
) -> Dataset:
    """The dataset at `source`, every image in a split.

    Splits that the source names are kept. Otherwise they are drawn by seed, stratified by classes, or by the rarest class of an
    image's boxes or mask; of more than 2,000 masks at random. The dataset's notes say so.

    Args:
        source: a folder with a folder per class, a CSV or TSV list, tar shards (folder, file, glob, braces, http(s)
            address, or a `.txt` that lists such), a set of boxes (Pascal VOC, COCO, YOLO, CSV) or of masks (folders of
            images and masks, Pascal VOC, COCO), or "elpv".
        seed: of the splits that are drawn.
        val, test: shares of the splits that are drawn, 0 to 1; by default 0.15 each, for "elpv" 0.1 and 0.25.
        group: the column whose equal values stay in one split; by default the one called "group".
        task: what is to be learned, for sources that can teach several things; by default boxes go before masks.
        classes: of masks: names in the order of their values, with commas between, or a file of names (`mask_classes`).
        ignore: of masks: names, values or colors (`#rrggbb`) that count nowhere, besides 255.

    Raises:
        DataError: nothing is there, or it cannot be understood; says what was expected.
        UsageError: the shares are out of range, or the source has no columns to group by, or no masks.
        MissingExtraError: the dataset is a package that is not installed.
    """
    text = str(source)
    asked = Asked(group, classes, tuple(ignore))
    kinds = {name: kind for name, kind in FORMATS.items() if task in (None, kind.task)}
    for name, kind in kinds.items():
        if not kind.fits(text):
            continue
        _check_options(name, kind, asked)
        listing = kind.read(text, asked)
        if task is None and kind.task == "detect" and FORMATS["voc-masks"].fits(text):
            listing = replace(listing, notes=(*listing.notes, "boxes were read; there are masks too, for the task segment"))
        return _dataset(listing, seed, listing.val if val is None else val, listing.test if test is None else test)
    if not (Path(text).exists() or is_remote(text) or FORMATS["elpv"].fits(text)):
        raise _missing(text)
    known = "; ".join(kind.title for kind in kinds.values())
    what = "a dataset" if task is None else f"a dataset to {task}"
    raise DataError(f"'{text}' is not {what}", hint=f"{what} is {known}")


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 over labels and every image's name, size in bytes, answer and split; images and masks are not read."""
    digest = hashlib.sha256(json.dumps(dataset.labels).encode())
    lines = sorted(
        json.dumps((sample.name, _size(sample), sample.label, sample.split, *_answer(sample))) for sample in dataset.samples
    )
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _dataset(listing: Listing, seed: int, val: float, test: float) -> Dataset:
    index = {label: i for i, label in enumerate(listing.labels)}
    splits, notes = fill(_in_strata(listing), seed=seed, val=val, test=test)
    samples = tuple(
        Sample(
            entry.path,
            index[entry.label] if listing.task == "classify" else -1,
            split,
            weight=entry.weight,
            group=entry.group,
            member=entry.member,
            name=entry.name,
            url=entry.url,
            boxes=tuple(box.numbered(index[box.label]) for box in entry.boxes),
            mask=entry.mask,
            stated=entry.stated,
            checksum=entry.checksum,
        )
        for entry, split in zip(listing.entries, splits, strict=True)
    )
    notes = (*listing.notes, *notes)
    more = listing.ignored, listing.task, listing.colors, listing.faults
    return Dataset(listing.labels, samples, listing.name, notes, *more)


def _in_strata(listing: Listing) -> Sequence[Entry]:
    """The entries by the rarest class of their boxes or masks, so that splits get their shares of each."""
    entries = listing.entries
    if listing.task == "classify" or not are_drawn(entries):
        return entries
    if listing.task == "detect":
        return by_rarest(entries, [[box.label for box in entry.boxes] for entry in entries])
    if len(entries) > _MASKS_LOOKED_AT:
        return entries
    with ThreadPoolExecutor(cores(), thread_name_prefix="masks") as pool:
        shown = pool.map(_shown, entries)
        return by_rarest(entries, [[str(one) for one in those] for those in shown])


def _shown(entry: Entry) -> Sequence[int]:
    """The classes in its mask; none of a mask that cannot be read."""
    try:
        return [] if entry.mask is None else list(masks.survey(entry.mask).pixels)
    except ImageError:
        return []


def _missing(source: str) -> DataError:
    """The error for a source that is not there, with what may be meant."""
    place = next((folder for folder in Path(source).parents if folder.is_dir()), Path())
    wanted = Path(source).relative_to(place).parts[0]
    try:
        beside = [item.name for item in islice(place.iterdir(), _BESIDE) if item.name[0] != "."]
    except OSError:
        beside = []
    near = [str(place / name) for name in difflib.get_close_matches(wanted, sorted(beside), n=2)]
    near += difflib.get_close_matches(source, ["elpv"])
    if near:
        return DataError(f"there is no '{source}'", hint=did_you_mean(near))
    return DataError(f"there is no '{source}'", hint="a folder, a file, the address of tar shards, or 'elpv' is expected")


def _answer(sample: Sample) -> tuple[str, ...]:
    """The boxes and the mask's file in words; nothing for a class."""
    boxes = (repr(sample.boxes),) if sample.boxes else ()
    return (*boxes, masks.words(sample.mask)) if sample.mask is not None else boxes


def _size(sample: Sample) -> int:
    if sample.member is not None:
        return sample.member[1]
    if sample.url:
        return -1
    try:
        return sample.path.stat().st_size
    except OSError:
        return -1


def _is_shards(source: str) -> bool:
    path = Path(source)
    if path.is_dir():
        return any(path.glob("*.tar")) and not any(item.is_dir() for item in path.iterdir() if item.name[0] != ".")
    shards = shard_files(source) if path.suffix == ".txt" and path.is_file() else expand(source)
    return bool(shards) and all((file_name(name) if is_remote(name) else name).lower().endswith(".tar") for name in shards)


def _is_list(source: str) -> bool:
    return Path(source).suffix.lower() in (".csv", ".tsv") and Path(source).is_file()


def _check_options(name: str, kind: Format, asked: Asked) -> None:
    """Refuse what is asked of a source that it has not."""
    if asked.group is not None and "group" not in kind.options:
        hint = "list the images in a CSV with that column"
        raise UsageError(f"a source of the kind '{name}' has no column '{asked.group}'", hint=hint)
    for option in ("classes", "ignore"):
        if getattr(asked, option) and option not in kind.options:
            hint = "--task segment reads masks" if kind.task != "segment" else "its own file names the classes"
            raise UsageError(f"--{option} means nothing for a source of the kind '{name}': {kind.title}", hint=hint)


# fmt: off
FORMATS: Table[Format] = Table("data format", {
    "elpv": Format("the name elpv",
                   lambda source: source == "elpv",
                   lambda source, asked: read_elpv()),
    "box-list": Format("a CSV or TSV file with the columns path,x0,y0,x1,y1,label[,split,difficult,crowd,group]",
                       is_box_list,
                       lambda source, asked: read_box_list(Path(source), group=asked.group),
                       "detect", ("group",)),
    "list": Format("a CSV or TSV file with the columns path,label[,split,weight,group]",
                   _is_list,
                   lambda source, asked: read_list(Path(source), group=asked.group),
                   options=("group",)),
    "shards": Format("tar shards, as a folder, a glob or train-{000..007}.tar, here or at an http(s) address",
                     _is_shards,
                     lambda source, asked: read_shards(source, group=asked.group),
                     options=("group",)),
    "voc": Format("a folder with Annotations/*.xml, JPEGImages/ and ImageSets/Main/, or with XML files beside the images",
                  is_voc,
                  lambda source, asked: read_voc(Path(source)),
                  "detect"),
    "coco": Format("a COCO file, or a folder with instances_train.json, itself or in annotations/",
                   is_coco,
                   lambda source, asked: read_coco(Path(source)),
                   "detect"),
    "yolo": Format("a data.yaml, or a folder with one, with YOLO's text files in labels/",
                   is_yolo,
                   lambda source, asked: read_yolo(Path(source)),
                   "detect"),
    "voc-masks": Format("a folder with JPEGImages/, SegmentationClass/*.png and ImageSets/Segmentation/",
                        is_voc_masks,
                        lambda source, asked: read_voc_masks(Path(source), classes=asked.classes, ignore=asked.ignore),
                        "segment", ("classes", "ignore")),
    "coco-masks": Format("a COCO file with polygons or run lengths, or a folder with such",
                         is_coco,
                         lambda source, asked: read_coco_masks(Path(source), ignore=asked.ignore),
                         "segment", ("ignore",)),
    "masks": Format("a folder with images/ and masks/, below train/, val/, test/ or not",
                    is_masked,
                    lambda source, asked: read_masked(Path(source), classes=asked.classes, ignore=asked.ignore),
                    "segment", ("classes", "ignore")),
    "folder": Format("a folder with a folder per class, below train/, val/, test/ or not",
                     lambda source: Path(source).is_dir(),
                     lambda source, asked: read_folder(Path(source))),
})
# fmt: on
"""How images may be kept, in the order in which a source is compared with them."""

"""`open_dataset` opens a dataset in any format, which it recognizes by itself; `fingerprint` identifies a dataset."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

from mobilenets.data import masks
from mobilenets.data.addresses import is_remote
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.readers.foreign import foreign_annotations, unread_file
from mobilenets.data.readers.format import Asked, Format
from mobilenets.data.readers.pairing import MASKS
from mobilenets.data.readers.table import FORMATS
from mobilenets.data.samples import Dataset, Sample, measured
from mobilenets.data.source import Source, look_at
from mobilenets.data.splits import are_drawn, by_rarest, fill
from mobilenets.data.text import class_name, legible
from mobilenets.data.walk import alike
from mobilenets.errors import DataError, ImageError, UsageError
from mobilenets.runtime.cores import cores
from mobilenets.specs.model import TASK_NOUNS, Task
from mobilenets.table import did_you_mean

_MASKS_LOOKED_AT = 2000  # in larger datasets any part has some of every class, and reading all masks would take long
_BESIDE = 5000  # number of names searched for one similar to a source that does not exist


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
    formats: Mapping[str, Format] = FORMATS,
) -> Dataset:
    """The dataset at `source`, with every image in a split.

    Splits that the source defines are kept. Otherwise they are drawn by seed, stratified by class, or by the rarest class in an
    image's boxes or mask; with more than 2,000 masks, they are drawn at random. The dataset's notes say so.

    Args:
        source: a folder with a folder per class, a CSV or TSV list, tar shards (folder, file, glob, braces, http(s)
            address, or a `.txt` that lists these), boxes (Pascal VOC, COCO, YOLO, CVAT, labelme, Label Studio, CSV), masks
            (folders of images and masks, Pascal VOC, COCO, Cityscapes, run lengths in a CSV, and the polygons of all these), or
            "elpv".
        seed: seed for splits that are drawn.
        val, test: shares of splits that are drawn, 0 to 1; by default 0.15 each, or 0.1 and 0.25 for "elpv".
        group: the column that names groups, which stay in one split; by default the column called "group".
        task: the task, for sources that have annotations for several; by default boxes take precedence over masks.
        classes: for masks: class names in the order of their values, separated by commas, or a file of names (`mask_classes`).
        ignore: for masks: names, values or colors (`#rrggbb`) to ignore besides 255.
        formats: the formats to try, in this order; `readers.format` says how to add one.

    Raises:
        DataError: nothing is there, or no format fits; the message says what was found and what was expected.
        UsageError: the shares are out of range, or the source has no columns or no masks, though an option needs them.
        MissingExtraError: the dataset is a package that is not installed.
    """
    scanned = look_at(source)
    asked = Asked(group, classes, tuple(ignore), task)
    kinds = {name: kind for name, kind in formats.items() if None in (task, kind.task) or task == kind.task}
    for name, kind in kinds.items():
        if not kind.fits(scanned):
            continue
        if kind is FORMATS["folder"] and task is None:
            _refuse_foreign(scanned)
        _check_options(name, kind, asked)
        try:
            listing = kind.read(scanned, asked)
        except DataError as error:
            mistaken = _of_another_task(scanned, kinds, task) if kind is FORMATS["folder"] else None
            if mistaken is None:
                raise
            raise mistaken from error
        if task is None and kind.task == "detect" and FORMATS["voc-masks"].fits(scanned):
            listing = replace(
                listing, notes=(*listing.notes, "the boxes were read; the dataset also has masks, for the task segment")
            )
        listing = replace(listing, notes=(*listing.notes, *_left_out(scanned, listing)))
        return _dataset(listing, seed, listing.val if val is None else val, listing.test if test is None else test)
    raise _unknown(scanned, kinds, task)


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 of the labels and of every image's name, size in bytes, annotation and split. Images and masks are not read."""
    digest = hashlib.sha256(json.dumps(dataset.labels).encode())
    lines = sorted(
        json.dumps((sample.name, _size(sample), sample.label, sample.split, *_answer(sample))) for sample in dataset.samples
    )
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _unknown(source: Source, kinds: Mapping[str, Format], task: Task | None) -> DataError:
    """The error for a source that no format fits."""
    if not (source.path.exists() or is_remote(source.text) or FORMATS["elpv"].fits(source)):
        return _missing(source.text)
    if source.tree is not None:
        _refuse_foreign(source)
    what = "a dataset" if task is None else f"a {TASK_NOUNS[task]} dataset"
    mistaken = _of_another_task(source, kinds, task)
    if mistaken is not None:
        return mistaken
    unread = unread_file(source) if source.tree is None else None
    if unread is not None:
        return DataError(f"'{source.text}' is not {what}: it is {unread[0]}", hint=f"{unread[1]}; {_titles(kinds, what)}")
    return DataError(f"'{source.text}' is not {what}", hint=_titles(kinds, what))


def _of_another_task(source: Source, kinds: Mapping[str, Format], task: Task | None) -> DataError | None:
    """The error for a source that has annotations for another task than the one asked for; None if it has none."""
    others = (kind for kind in FORMATS.values() if None not in (task, kind.task) and kind.task != task)
    other = next((kind for kind in others if kind is not FORMATS["folder"] and kind.fits(source)), None)
    if other is None or other.task is None or task is None:
        return None
    what = f"a {TASK_NOUNS[task]} dataset"
    return DataError(
        f"'{source.text}' is not {what} but a {TASK_NOUNS[other.task]} dataset: {other.title}", hint=_titles(kinds, what)
    )


def _titles(kinds: Mapping[str, Format], what: str) -> str:
    return f"{what} is {'; '.join(kind.title for kind in kinds.values())}"


def _left_out(source: Source, listing: Listing) -> list[str]:
    """The note that a folder has images that its annotations do not list. Masks and reported faults do not count."""
    if source.tree is None or listing.task == "segment" or any(entry.member is not None for entry in listing.entries):
        return []
    named = {entry.name for entry in listing.entries} | {fault.file for fault in listing.faults}
    root = source.tree.root
    named |= {entry.path.relative_to(root).as_posix() for entry in listing.entries if entry.path.is_relative_to(root)}
    rest = [path for path in source.tree.images() if path not in named and MASKS.isdisjoint(path.lower().split("/")[:-1])]
    are = "1 image is" if len(rest) == 1 else f"{len(rest):,} images are"
    return [f"{are} in the folder, but in no annotation, and left out, such as '{rest[0]}'"] if rest else []


def _refuse_foreign(source: Source) -> None:
    """Raise if a folder's annotations cannot be read, instead of taking its folders for classes."""
    foreign = foreign_annotations(source.tree) if source.tree is not None else None
    if foreign is not None:
        message, hint = foreign
        raise DataError(message, hint=f"{hint}; or read folders as classes with --task classify")


def _dataset(listing: Listing, seed: int, val: float, test: float) -> Dataset:
    for label in listing.labels:
        if not _is_text(label):
            class_name(label, f"the list '{legible(listing.name)}'")  # raises an error that says what is wrong
    index = {label: i for i, label in enumerate(listing.labels)}
    faults = (*listing.faults, *_near_twins(listing.labels), *_missing_labels(listing.labels), *_composed(listing))
    listing = replace(listing, entries=_legible(listing.entries), faults=faults)
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
    drawn = all(entry.split is None for entry in listing.entries)
    return Dataset(listing.labels, measured(samples, threads=cores()), listing.name, notes, *more, drawn=drawn)


def _in_strata(listing: Listing) -> Sequence[Entry]:
    """The entries with the rarest class in their boxes or masks as stratum, so that every split gets its share of it."""
    entries = listing.entries
    if listing.task == "classify" or not are_drawn(entries):
        return entries
    if listing.task == "detect":
        return by_rarest(entries, [[box.label for box in entry.boxes] for entry in entries])
    if len(entries) > _MASKS_LOOKED_AT:
        return entries
    with ThreadPoolExecutor(cores(), thread_name_prefix="masks") as pool:
        shown = pool.map(_shown, entries)
        return by_rarest(entries, [[str(label) for label in labels] for labels in shown])


def _shown(entry: Entry) -> Sequence[int]:
    """The classes in an entry's mask; none if it cannot be read."""
    try:
        return [] if entry.mask is None else list(masks.survey(entry.mask).pixels)
    except ImageError:
        return []


def _missing(source: str) -> DataError:
    """The error for a source that does not exist, with suggestions of similar names."""
    folder = next((folder for folder in Path(source).parents if folder.is_dir()), Path())
    wanted = Path(source).relative_to(folder).parts[0]
    try:
        beside = [item.name for item in islice(folder.iterdir(), _BESIDE) if item.name[0] != "."]
    except OSError:
        beside = []
    near = [str(folder / name) for name in difflib.get_close_matches(wanted, sorted(beside), n=2)]
    near += difflib.get_close_matches(source, ["elpv"])
    if near:
        return DataError(f"there is no '{source}'", hint=did_you_mean(near))
    return DataError(f"there is no '{source}'", hint="a folder, a file, the address of tar shards, or 'elpv' is expected")


def _answer(sample: Sample) -> tuple[str, ...]:
    """The boxes and the mask of a sample as values for the fingerprint; () for a label."""
    boxes = (repr(sample.boxes),) if sample.boxes else ()
    return (*boxes, masks.words(sample.mask)) if sample.mask is not None else boxes


def _size(sample: Sample) -> int:
    """The size in bytes; -1 if the file does not exist or is on a web server. It is looked up now if it is not known yet."""
    if sample.size_bytes is None:
        (sample,) = measured([sample], threads=1)
    return -1 if sample.size_bytes is None else sample.size_bytes


def _check_options(name: str, kind: Format, asked: Asked) -> None:
    """Raise if an option does not exist for the source's format."""
    if asked.group is not None and "group" not in kind.options:
        hint = "list the images in a CSV with that column"
        raise UsageError(f"a dataset of the format '{name}' has no column '{asked.group}'", hint=hint)
    for option in ("classes", "ignore"):
        if getattr(asked, option) and option not in kind.options:
            hint = "--task segment reads masks" if kind.task != "segment" else "its own file names the classes"
            raise UsageError(f"--{option} does not apply to a dataset of the format '{name}': {kind.title}", hint=hint)


def _near_twins(labels: Sequence[str]) -> list[Fault]:
    """Classes whose names differ only in case, spaces or accents, as when two people or two systems made the folders."""
    first: dict[str, str] = {}
    faults = []
    for label in labels:
        twin = first.setdefault("".join(alike(label).casefold().split()), label)
        if twin != label:
            differ = "case or spaces" if label.isascii() else "case, spaces or the way accents are stored"
            faults.append(Fault("contradiction", f"the classes '{twin}' and '{label}' differ only in {differ}", ""))
    return faults


def _missing_labels(labels: Sequence[str]) -> list[Fault]:
    """Classes whose names look like a program's notation for a missing value."""
    blank = [label for label in labels if label.lower() in ("nan", "null", "<na>", "#n/a")]
    return [Fault("contradiction", f"the class '{label}' looks like a missing label, not a class", "") for label in blank]


def _composed(listing: Listing) -> list[Fault]:
    """Classes that combine several others, as when images show several things."""
    known = set(listing.labels) if listing.task == "classify" else set()
    parts = {label: [part.strip() for part in re.split(r"[|;,+&]", label)] for label in sorted(known)}
    several = [label for label, names in parts.items() if len(names) > 1 and known.issuperset(names)]
    if not several:
        return []
    message = (
        f"the class '{several[0]}' and {len(several) - 1} more are" if len(several) > 1 else f"the class '{several[0]}' is"
    )
    return [Fault("contradiction", f"{message} made of other classes, but a classifier learns one class for each image", "")]


def _is_text(name: str) -> bool:
    """Whether a name can be written in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _legible(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries with names that can be printed and written on one line; their paths stay unchanged."""
    if all(entry.name.isprintable() for entry in entries):
        return entries
    used = {entry.name for entry in entries}
    renamed = []
    for entry in entries:
        name = legible(entry.name)
        while name != entry.name and name in used:
            name += "_"
        used.add(name)
        renamed.append(replace(entry, name=name))
    return tuple(renamed)

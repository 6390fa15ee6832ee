"""Checks the boxes of a dataset. `repaired` corrects them for training by fixed rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mobilenets.data.boxes import Box
from mobilenets.data.checks.box_sizes import MATCHED, SMALLEST, UNCOVERED, BoxSizes
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.errors import ImageError
from mobilenets.runtime.detect.nms import ious
from mobilenets.runtime.images.decode import upright_size

BEYOND = 0.5
"""How far a box may reach beyond its image because of rounding, px."""

SAME = 0.9
"""Two boxes of one class with at least this overlap are considered one object that was annotated twice."""

THINNEST = 1.0
"""Minimum width and height of a box for training, after clipping it to the image, px."""

REPAIRED = frozenset({"swapped", "no-area", "outside"})
"""Codes of the problems that `repaired` corrects, so that training can go on."""

Size = tuple[int, int]

TRAIN: tuple[Split, ...] = ("train",)

_REPAIRS = {
    "swapped": "with swapped corners corrected",
    "cut": "clipped to the image",
    "dropped": "without area dropped",
    "twice": "that repeat another dropped",
}


class Remark(NamedTuple):
    """One problem: its code in `codes.CODES`, a message to be read after the file's name, and the file or ""."""

    code: str
    message: str
    file: str


def box_remarks(dataset: Dataset, images: Sequence[Size | None]) -> Iterator[Remark]:
    """The problems of single boxes, and those of boxes compared with each other.

    Args:
        dataset: a detection dataset.
        images: width and height of each sample's image, upright, px; None if it is not known.
    """
    for fault in dataset.faults:
        yield Remark(fault.code, fault.message, fault.file)
    for sample, size in zip(dataset.samples, images, strict=True):
        if size is not None and sample.stated not in (None, size):
            yield Remark("stated-size", _stated(sample.stated, size), sample.name)
        for box in sample.boxes:
            problem = _geometry(box, size)
            if problem is not None:
                code, message = problem
                yield Remark(code, f"{_shown(dataset, box)} {message}", sample.name)
        yield from _pairs(dataset, sample)
    bare = [sample.name for sample in dataset.samples if not sample.boxes]
    if bare:
        yield Remark("no-objects", f"{len(bare)} of {len(dataset.samples)} images show no object", "")


def size_remarks(sizes: BoxSizes) -> Iterator[Remark]:
    """The classes whose objects are hard to find for a detector with this input and these anchors."""
    height, width = sizes.shape
    for i, label in enumerate(sizes.labels):
        of_class = sizes.classes == i
        total = int(of_class.sum())
        small = int((sizes.sides[of_class] < SMALLEST).sum())
        if small:
            limit = f"{SMALLEST:g} x {SMALLEST:g} px"
            message = f"{small} of {total} boxes of '{label}' are below {limit} on an input of {width} x {height}"
            yield Remark("too-small", f"{message}; a larger --size, or tiles, would help", "")
        bad = int(((sizes.overlaps[of_class] < UNCOVERED) & (sizes.sides[of_class] >= SMALLEST)).sum())
        if bad:
            message = f"{bad} of {total} boxes of '{label}' overlap no anchor by {UNCOVERED:g}"
            yield Remark("uncovered", f"{message}: they are too small or too narrow for the anchors", "")
        matched = int((sizes.overlaps[of_class] >= MATCHED).sum())
        if 2 * matched < total:
            message = f"{matched} of {total} boxes of '{label}' overlap an anchor by {MATCHED:g}"
            yield Remark("unmatched", f"{message}; each of the others is matched only to its nearest anchor", "")


def repaired(dataset: Dataset, *, splits: Collection[Split] = TRAIN) -> Dataset:
    """The dataset to train on: its boxes are corrected by fixed rules, and a note says how many.

    In this order: swapped corners are exchanged; boxes are clipped to their image; boxes narrower or lower than 1 px are
    dropped; of boxes of one class that overlap by 0.9, only the first is kept. Crowds are clipped, but not dropped for their
    overlap. Val and test stay unchanged, because models are evaluated against the dataset as it is.

    Args:
        dataset: a detection dataset.
        splits: the splits to correct.
    """
    counts: Counter[str] = Counter()
    samples = tuple(_repaired(sample, counts) if sample.split in splits else sample for sample in dataset.samples)
    repairs = ", ".join(f"{counts[key]} {text}" for key, text in _REPAIRS.items() if counts[key])
    notes = (f"boxes of {' and '.join(splits)}: {repairs}",) if repairs else ()
    return replace(dataset, samples=samples, notes=(*dataset.notes, *notes))


def _repaired(sample: Sample, counts: Counter[str]) -> Sample:
    size = _size(sample)
    boxes: list[Box] = []
    for original in sample.boxes:
        box = replace(
            original,
            x0=min(original.x0, original.x1),
            x1=max(original.x0, original.x1),
            y0=min(original.y0, original.y1),
            y1=max(original.y0, original.y1),
        )
        swapped, cut = box != original, False
        if size is not None:
            width, height = size
            whole = box
            box = replace(
                box,
                x0=min(max(box.x0, 0), width),
                y0=min(max(box.y0, 0), height),
                x1=min(max(box.x1, 0), width),
                y1=min(max(box.y1, 0), height),
            )
            cut = max(abs(a - b) for a, b in zip(box.corners, whole.corners, strict=True)) > BEYOND
        if min(box.width, box.height) < THINNEST:
            counts["dropped"] += 1
            continue
        counts["swapped"] += swapped
        counts["cut"] += cut
        boxes.append(box)
    later = {k for i, k in _overlapping(boxes) if boxes[i].label == boxes[k].label and not boxes[k].crowd}
    counts["twice"] += len(later)
    return replace(sample, boxes=tuple(box for i, box in enumerate(boxes) if i not in later))


def _size(sample: Sample) -> Size | None:
    """Width and height of the upright image. They are taken from its annotation if no box reaches beyond them."""
    if sample.stated is not None and not any(_geometry(box, sample.stated) for box in sample.boxes):
        return sample.stated
    if sample.url:
        return sample.stated
    try:
        return upright_size(sample.path if sample.member is None else sample.read())
    except (ImageError, OSError):
        return None  # the image is broken, which is reported elsewhere


def _geometry(box: Box, size: Size | None) -> tuple[str, str] | None:
    """The code and the message for a box without area, or one that does not lie on the image."""
    if box.width < 0 or box.height < 0:
        return "swapped", "has swapped corners"
    if box.width == 0 or box.height == 0:
        return "no-area", "has no area"
    if size is None:
        return None
    width, height = size
    if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width or box.y0 >= height:
        return "outside", f"is outside the image, {width} x {height}"
    beyond = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
    if beyond > BEYOND:
        corners = box.x0 < box.width <= width and box.y0 < box.height <= height
        doubt = "; were corners written in place of its width and height?" if corners else ""
        return "beyond", f"reaches {beyond:.4g} px beyond the image, {width} x {height}{doubt}"
    return None


def _pairs(dataset: Dataset, sample: Sample) -> Iterator[Remark]:
    for i, k in _overlapping(sample.boxes):
        first, second = sample.boxes[i], sample.boxes[k]
        if first.crowd or second.crowd:
            continue
        if first.label == second.label:
            yield Remark("box-twice", f"{_shown(dataset, second)} repeats {_corners(first)}", sample.name)
        else:
            message = f"{_shown(dataset, second)} is also boxed as '{dataset.labels[first.label]}' at {_corners(first)}"
            yield Remark("box-conflict", message, sample.name)


def _overlapping(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Pairs of boxes that overlap by `SAME`, each with the earlier one first."""
    corners = np.array([box.corners for box in boxes], np.float64).reshape(-1, 4)
    first, second = np.nonzero(np.triu(ious(corners, corners) >= SAME, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _stated(stated: Size | None, size: Size) -> str:
    assert stated is not None
    turned = "; EXIF rotates the image, but the boxes may belong to the image as stored" if stated == size[::-1] else ""
    return f"is {size[0]} x {size[1]}, but its annotation says {stated[0]} x {stated[1]}{turned}"


def _shown(dataset: Dataset, box: Box) -> str:
    return f"'{dataset.labels[box.label]}' at {_corners(box)}"


def _corners(box: Box) -> str:
    return " ".join(f"{edge:.6g}" for edge in box.corners)

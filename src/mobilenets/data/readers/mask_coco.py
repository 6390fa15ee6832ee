"""Reads COCO's polygons and run lengths as masks: a pixel has the category of the smallest object on it, or is background."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mobilenets.data import regions
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import EMPTY, Fault
from mobilenets.data.readers.coco import CocoFile, id_of, listing, opened
from mobilenets.data.readers.coco_boxes import Record
from mobilenets.data.readers.coco_files import is_coco
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_objects import Outlined, counted_labels, drawn, is_far_outside, sized
from mobilenets.data.regions import Region
from mobilenets.data.source import Source
from mobilenets.data.text import counted, number
from mobilenets.errors import DataError, ImageError


def read_coco_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a COCO file, or of all COCO files in a folder, with masks of their objects.

    Where objects overlap, the smaller one is on top. An image without objects is all background.

    Args:
        source: as for `coco.read_coco`.
        asked: the categories to ignore.

    Raises:
        DataError: a file is not such JSON, contradicts itself, or has no polygons; the message names the file and the key.
    """
    whole: list[tuple[Entry, list[Outlined]]] = []
    names: list[str] = []
    notes: list[str] = []
    files = opened(source)
    faults: list[Fault] = list(files[0].tree.faults)
    for file in files:
        names += [name for name in file.labels.values() if name not in names]
        whole += _images(file, notes, faults)
        faults += file.faults
        notes += file.notes
    if not any(objects for _, objects in whole):
        if any(file.annotations for file in files):
            hint = "is it a dataset of boxes?"
            raise DataError(f"'{source.text}' has no annotation with polygons or run lengths", hint=hint)
        raise DataError(f"'{source.text}' has no annotation of its {counted(len(whole), 'image')}", hint=EMPTY)
    labels = counted_labels(names, asked.ignore, source.text)
    index = {label: i for i, label in enumerate(labels)}
    entries = [_masked(entry, objects, index) for entry, objects in whole]
    return listing(source, entries, labels, notes, faults)


def _images(file: CocoFile, notes: list[str], faults: list[Fault]) -> list[tuple[Entry, list[Outlined]]]:
    """Each image with its objects."""
    objects: dict[object, list[Outlined]] = defaultdict(list)
    entries = {id_of(image.get("id")): entry for image, entry in zip(file.images, file.entries(), strict=True)}
    sizes = {key: entry.stated for key, entry in entries.items()}
    without = 0
    for i, annotation in enumerate(file.annotations):
        label = file.labels.get(id_of(annotation.get("category_id")))
        key = id_of(annotation.get("image_id"))
        if label is None or key not in entries:
            continue  # already reported by `CocoFile.entries`
        where = f"annotations[{i}]"
        region = _region(f"'{file.path}': {where}", annotation)
        if region is None:
            without += 1
            continue
        problem = _misfit(region, annotation, sizes[key])
        if problem:
            faults.append(Fault("contradiction", f"{where} {problem}; it is left out", file.shown))
            continue
        area = number(annotation.get("area"))
        area = math.inf if math.isnan(area) else area
        objects[key].append(Outlined(label, region, area, bool(annotation.get("iscrowd"))))
    if without:
        notes.append(f"{file.shown}: {without:,} of {len(file.annotations):,} annotations have no polygon and are left out")
    return [(sized(entry, file.path), objects[key]) for key, entry in entries.items()]


def _region(where: str, annotation: Record) -> Region | None:
    """The pixels of an annotation; None if it has none."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if isinstance(counts, str) or (isinstance(counts, list) and all(isinstance(n, int) for n in counts)):
            try:
                return regions.from_runs(0, counts)
            except (ImageError, OverflowError) as error:
                raise DataError(f"{where} has damaged run lengths: {error}") from error
        raise DataError(f"{where} has a segmentation without counts", hint="run lengths are {'size': [h, w], 'counts': ...}")
    if not segmentation:
        return None
    polygons: list[list[float]] = []
    for polygon in segmentation if isinstance(segmentation, list) and isinstance(segmentation[0], list) else [segmentation]:
        numbers = [number(value) for value in polygon] if isinstance(polygon, list) else [math.nan]
        if len(numbers) % 2 or any(math.isnan(value) for value in numbers):
            raise DataError(f"{where} has a polygon that is not a list of x and y", hint="[[x0, y0, x1, y1, ...], ...]")
        if len(numbers) >= 6:
            polygons.append(numbers)
    return regions.from_polygons(0, polygons) if polygons else None


def _misfit(region: Region, annotation: Record, size: tuple[int, int] | None) -> str:
    """How an annotation's pixels contradict the image's size; "" if they fit."""
    if size is None:
        return ""
    width, height = size
    if region.runs:
        total = int(np.frombuffer(region.runs, np.uint32).sum(dtype=np.int64))
        segmentation = annotation.get("segmentation")
        stated = segmentation.get("size") if isinstance(segmentation, dict) else None
        sides = [number(side) for side in stated] if isinstance(stated, list) else []
        if total != width * height or sides not in ([], [height, width]):
            of = f" of size {stated}" if len(sides) == 2 else ""
            return f"has run lengths{of} for {total:,} pixels, but its image is {width} x {height}"
    if is_far_outside(region, size):
        return f"has a polygon far outside its image of {width} x {height}"
    return ""


def _masked(entry: Entry, objects: Sequence[Outlined], index: Mapping[str, int]) -> Entry:
    assert entry.stated is not None
    return replace(entry, boxes=(), mask=drawn(objects, entry.stated, index))


FORMAT = Format(
    "a COCO file with polygons or run lengths, or a folder with such files", is_coco, read_coco_masks, "segment", ("ignore",)
)

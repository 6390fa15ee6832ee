"""COCO's polygons and run lengths as masks: every pixel has the category of the smallest object on it, else "background"."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilenets.data import regions
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.masks import IGNORE, Mask
from mobilenets.data.readers.coco import CocoFile, Record, coco_files, once
from mobilenets.data.regions import Region
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size
from mobilenets.runtime.segment.palette import BACKGROUND

NOTHING = "background"
"""The label of a pixel on no object, put first; categories may bring their own, as `palette.BACKGROUND` spells it."""


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of an image.

    Args:
        label: its category.
        region: with label 0.
        crowd: whether it is a crowd, which lies under everything else.
        area: px, as the file says.
    """

    label: str
    region: Region
    crowd: bool
    area: float


def read_coco_masks(source: Path, *, ignore: Sequence[str] = ()) -> Listing:
    """The images of a COCO file, or of a folder's files, with the pixels of their objects.

    Where objects overlap, the smaller lies above. Images without any object are background all over.

    Args:
        source: as for `coco.read_coco`.
        ignore: categories whose pixels count nowhere.

    Raises:
        DataError: a file is no such JSON, contradicts itself, or has no polygons; says which, and the key.
    """
    root = source if source.is_dir() else source.parent
    files = coco_files(source) if source.is_dir() else [source]
    found: list[tuple[Entry, list[_Object]]] = []
    labels: list[str] = []
    faults: list[Fault] = []
    notes: list[str] = []
    for path in files:
        file = CocoFile(path, root)
        labels += [name for name in file.labels.values() if name not in labels]
        found += _images(file, notes)
        faults += file.faults
        notes += file.notes
    if not any(objects for _, objects in found):
        raise DataError(f"no annotation in '{source}' has polygons or run lengths", hint="is it a dataset of boxes?")
    labels = _counted(labels, ignore, source)
    index = {label: i for i, label in enumerate(labels)}
    entries = [replace(entry, boxes=(), mask=_mask(entry, objects, index)) for entry, objects in found]
    entries = list(once(entries, faults).values())
    if not all(entry.split for entry in entries):
        entries = [replace(entry, split=None) for entry in entries]
    name = source.resolve().name if source.is_dir() else source.stem
    return Listing(tuple(entries), tuple(labels), name, tuple(dict.fromkeys(notes)), task="segment", faults=tuple(faults))


def _counted(names: Sequence[str], ignore: Sequence[str], source: Path) -> list[str]:
    unknown = [name for name in ignore if name not in names]
    if unknown:
        raise DataError(f"'{unknown[0]}' cannot be ignored: '{source}' has no such category")
    kept = [name for name in names if name not in ignore]
    own = [name for name in kept if name.lower() in BACKGROUND]
    labels = [*(own or [NOTHING]), *(name for name in kept if name not in own)]
    if len(labels) > IGNORE:
        raise DataError(f"'{source}' has {len(labels)} classes; a mask of 8 bits holds {IGNORE}")
    return labels


def _images(file: CocoFile, notes: list[str]) -> list[tuple[Entry, list[_Object]]]:
    """Each image with its objects."""
    objects: dict[object, list[_Object]] = defaultdict(list)
    without = 0
    for i, one in enumerate(file.annotations):
        label = file.labels.get(one.get("category_id"))
        if label is None:
            continue  # `CocoFile.entries` names it
        region = _region(file.path, i, one)
        if region is None:
            without += 1
            continue
        area = one.get("area")
        objects[one.get("image_id")].append(
            _Object(label, region, bool(one.get("iscrowd")), float(area) if isinstance(area, int | float) else math.inf)
        )
    if without:
        notes.append(f"{without} of {len(file.annotations)} annotations of {file.path.name} have no polygon and are left out")
    return [(_sized(entry), objects[image.get("id")]) for image, entry in zip(file.images, file.entries(), strict=True)]


def _region(path: Path, i: int, one: Record) -> Region | None:
    """The pixels of an annotation; None where it has none."""
    where = f"'{path}': annotations[{i}]"
    found: Any = one.get("segmentation")  # Any: JSON
    if isinstance(found, dict):
        counts = found.get("counts")
        if isinstance(counts, str) or (isinstance(counts, list) and all(isinstance(n, int) for n in counts)):
            try:
                return regions.from_runs(0, counts)
            except (ImageError, OverflowError) as error:
                raise DataError(f"{where} has damaged run lengths: {error}") from error
        raise DataError(f"{where} has a segmentation without counts", hint="run lengths are {'size': [h, w], 'counts': ...}")
    if not found:
        return None
    polygons: list[list[float]] = []
    for polygon in found if isinstance(found, list) and isinstance(found[0], list) else [found]:
        numbers = isinstance(polygon, list) and all(isinstance(n, int | float) and math.isfinite(n) for n in polygon)
        if not numbers or len(polygon) % 2:
            raise DataError(f"{where} has a polygon that is no list of x and y", hint="[[x0, y0, x1, y1, ...], ...]")
        if len(polygon) >= 6:
            polygons.append(polygon)
    return regions.from_polygons(0, polygons) if polygons else None


def _sized(entry: Entry) -> Entry:
    """The entry with the image's size, from the file where the JSON does not say it."""
    if entry.stated is not None:
        return entry
    try:
        return replace(entry, stated=upright_size(entry.path))
    except ImageError as error:
        raise DataError(f"'{entry.name}' has no width and height in the JSON, and {error}") from error


def _mask(entry: Entry, objects: Sequence[_Object], index: dict[str, int]) -> Mask:
    assert entry.stated is not None
    width, height = entry.stated
    order = sorted(objects, key=lambda one: (not one.crowd, -one.area))
    painted = tuple(replace(one.region, label=index.get(one.label, IGNORE)) for one in order)
    return Mask(regions=painted, width=width, height=height)

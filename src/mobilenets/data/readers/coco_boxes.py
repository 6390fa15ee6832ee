"""The box of a COCO annotation, and doubts whether all boxes of a file are written as COCO writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from mobilenets.data import regions
from mobilenets.data.entries import Entry
from mobilenets.data.limits import PIXELS
from mobilenets.data.text import counted, number, shown
from mobilenets.errors import DataError, ImageError

Record = Mapping[str, object]

_LEAST = 3  # fewest boxes that can show that all are corners


def box_of(where: str, bbox: object) -> tuple[float, float, float, float]:
    """The left and top edge, the width and the height of a box.

    Args:
        where: the file and the annotation, for the error.
        bbox: the value in the file.

    Raises:
        DataError: it is not four numbers.
    """
    numbers = [number(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else []
    if len(numbers) != 4 or any(math.isnan(value) for value in numbers):
        hint = "remove the annotation, or give it a box" if bbox in (None, []) else "four numbers in px, without quotes"
        raise DataError(f"{where} has the bbox {shown(bbox)}, not [x, y, width, height]", hint=hint)
    x, y, width, height = numbers
    return x, y, width, height


def around(annotation: Record) -> tuple[float, float, float, float] | None:
    """The box around an annotation's polygons or run lengths; None if it has neither."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _around_runs(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    numbers = [number(value) for polygon in polygons if isinstance(polygon, list) for value in polygon]
    if len(numbers) < 4 or len(numbers) % 2 or any(math.isnan(value) for value in numbers):
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def corners_in_place_of_sizes(entries: Iterable[Entry]) -> str:
    """What is said if the boxes look like corners x0 y0 x1 y1 in place of a corner, a width and a height; else "".

    As they are read, at least half of them reach beyond their image; as corners, all lie within it and none is empty.
    """
    outside = boxes = 0
    for entry in entries:
        if entry.stated is None:
            continue
        width, height = entry.stated
        for box in entry.boxes:
            x1, y1 = box.x1 - box.x0, box.y1 - box.y0  # if they are corners
            if not (box.x0 < x1 <= width + 1 and box.y0 < y1 <= height + 1):
                return ""
            boxes += 1
            outside += box.x1 > width + 1 or box.y1 > height + 1
    if boxes < _LEAST or 2 * outside < boxes:
        return ""
    of = f"{outside:,} of {counted(boxes, 'box', 'boxes')} reach beyond their image"
    return f"{of} as [x, y, width, height], but none would as [x0, y0, x1, y1]: were corners written in place of sizes?"


def _around_runs(segmentation: Record) -> tuple[float, float, float, float] | None:
    """The box around run lengths of a stated size; None if they do not fit that size."""
    counts, size = segmentation.get("counts"), segmentation.get("size")
    sides = [int(number(side)) for side in size if number(side) >= 1] if isinstance(size, list) else []
    if len(sides) != 2 or sides[0] * sides[1] > PIXELS or not isinstance(counts, str | list):
        return None
    try:
        inside = regions.inside(regions.from_runs(0, counts), sides[1], sides[0])  # H W
    except (ImageError, OverflowError, ValueError, TypeError):
        return None
    if not inside.any():
        return None
    xs, ys = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    return float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1)

"""`Drawn`: images with the shapes that people drew on them, from any program, to be read as boxes or masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenets.data import regions
from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.faults import EMPTY, Fault
from mobilenets.data.limits import PIXELS
from mobilenets.data.readers.mask_objects import Outlined, counted_labels, drawn, is_far_outside, sized
from mobilenets.data.regions import Region
from mobilenets.data.source import Source
from mobilenets.data.text import counted
from mobilenets.errors import DataError

Corner = tuple[float, float]
Kind = Literal["box", "outline", "pixels", "line", "point"]

_STEPS = 72  # number of corners of the polygon that approximates an ellipse


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A drawn shape.

    Args:
        kind: an "outline" is a polygon or ellipse; a "point" is anything that is neither a box nor enclosed by one.
        label: its class.
        corners: corners of the polygon, line or rotated box; for "pixels", top left and bottom right of their rectangle.
        where: which shape it is, for errors: "shape 2".
        runs: for "pixels", lengths of runs along the rows of the rectangle; the first run is outside.
        layer: shapes of higher layers are drawn above those of lower ones.
        object: shapes with the same class and name here are parts of one object; "" for a separate object.
    """

    kind: Kind
    label: str
    corners: tuple[Corner, ...]
    where: str
    runs: NDArray[np.int64] | None = None
    layer: int = 0
    object: str = ""


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """An image without boxes or mask, and the shapes drawn on it; `file` is their file, relative to the dataset's folder."""

    entry: Entry
    shapes: tuple[Shape, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """The contents of a program's annotation files.

    Args:
        path: its file, or the folder with its files, for errors.
        images: the listed images.
        declared: the listed classes, in the program's order; they need not occur.
        tagged: a hint about tags of whole images if there are no shapes; "" if there are no tags.
        notes, faults: as in `Listing`.
    """

    path: Path
    images: tuple[DrawnImage, ...]
    declared: tuple[str, ...] = ()
    tagged: str = ""
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    def labels(self, used: Sequence[str]) -> tuple[str, ...]:
        """The classes that occur, in the program's order; undeclared ones come last."""
        return tuple(dict.fromkeys([*(label for label in self.declared if label in used), *used]))


def boxes_of(whole: Drawn, source: Source) -> Listing:
    """The images with their boxes; polygons, ellipses, lines and masks become the boxes around them.

    Raises:
        DataError: no shape has a box around it.
    """
    entries = [replace(image.entry, boxes=tuple(_boxes(image))) for image in whole.images]
    if not any(entry.boxes for entry in entries):
        tags = "tags of whole images, but " if whole.tagged else ""
        images = counted(len(whole.images), "image")
        raise DataError(f"'{whole.path}' has {tags}no box, polygon or mask on its {images}", hint=whole.tagged or EMPTY)
    used = in_order(box.label for entry in entries for box in entry.boxes)
    outlined = sum(shape.kind in ("outline", "pixels") for image in whole.images for shape in image.shapes)
    found = f"{counted(outlined, 'polygon or mask was', 'polygons and masks were')} read as the boxes around them"
    notes = (f"{found}; --task segment reads them as masks",) if outlined else ()
    points = sum(shape.kind == "point" for image in whole.images for shape in image.shapes)
    what = "point, skeleton or cuboid has no box and is", "points, skeletons and cuboids have no box and are"
    notes = (*whole.notes, *notes, *((f"{counted(points, *what)} left out",) if points else ()))
    return Listing(tuple(entries), whole.labels(used), name_of(source), notes, task="detect", faults=whole.faults)


def masks_of(whole: Drawn, source: Source, ignore: Sequence[str]) -> Listing:
    """The images with masks of their polygons, ellipses and pixels.

    Shapes are stacked by layer, and within a layer smaller ones are above larger ones. An image without shapes is all
    background. Boxes, lines and points are left out.

    Raises:
        DataError: no shape has an outline, or a class to ignore does not exist.
    """
    faults = list(whole.faults)
    images = [replace(image, entry=sized(image.entry, whole.path)) for image in whole.images]
    outlined = [_objects(image, faults) for image in images]
    if not any(outlined):
        number = counted(len(images), "image")
        hint = "is it a dataset of boxes?" if any(image.shapes for image in images) else whole.tagged or EMPTY
        raise DataError(f"'{whole.path}' has no polygon, ellipse or mask on its {number}", hint=hint)
    used = in_order(item.label for objects in outlined for item in objects)
    labels = counted_labels(whole.labels(used), ignore, source.text)
    index = {label: i for i, label in enumerate(labels)}
    entries = [
        replace(image.entry, mask=drawn(objects, image.entry.stated or (1, 1), index))
        for image, objects in zip(images, outlined, strict=True)
    ]
    others = sum(shape.kind not in ("outline", "pixels") for image in images for shape in image.shapes)
    what = "box, line or point has no outline and is", "boxes, lines and points have no outline and are"
    notes = (*whole.notes, *((f"{counted(others, *what)} left out",) if others else ()))
    return Listing(tuple(entries), tuple(labels), name_of(source), notes, task="segment", faults=tuple(faults))


def name_of(source: Source) -> str:
    """The name of a dataset: that of its folder or file."""
    return source.path.resolve().name if source.tree is not None else source.path.stem


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[Corner]:
    """The corners of a box, clockwise."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def ellipse(center: Corner, radii: Corner) -> list[Corner]:
    """The corners of a polygon that approximates an ellipse."""
    steps = (2 * math.pi * i / _STEPS for i in range(_STEPS))
    return [(center[0] + radii[0] * math.cos(step), center[1] + radii[1] * math.sin(step)) for step in steps]


def turned(corners: Sequence[Corner], center: Corner, degrees: float) -> list[Corner]:
    """The corners rotated clockwise."""
    angle = math.radians(degrees)
    if not angle:
        return list(corners)
    (cx, cy), cos, sin = center, math.cos(angle), math.sin(angle)
    return [(cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos) for x, y in corners]


def runs_of(within: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The lengths of runs along the rows of pixels, H W; the first is outside."""
    flat = within.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], turns, [flat.size]]))
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def _boxes(image: DrawnImage) -> Iterator[NamedBox]:
    """The boxes around the shapes, in their order; around all parts of an object, where its first one is."""
    objects: dict[tuple[str, str], list[Shape]] = {}
    for i, shape in enumerate(image.shapes):
        if shape.kind != "point" and shape.corners:
            objects.setdefault((shape.label, shape.object or f" {i}"), []).append(shape)
    for (label, _), parts in objects.items():
        corners = [corner for part in parts for corner in part.corners]
        if len(parts) == 1 and parts[0].kind == "box" and corners == rectangle(*corners[0], *corners[2]):
            yield NamedBox(label, *corners[0], *corners[2])  # as written, even if corners are swapped
        else:
            xs, ys = zip(*corners, strict=True)
            yield NamedBox(label, min(xs), min(ys), max(xs), max(ys))


def _objects(image: DrawnImage, faults: list[Fault]) -> list[Outlined]:
    size = image.entry.stated or (1, 1)
    objects = []
    for shape in image.shapes:
        if shape.kind not in ("outline", "pixels"):
            continue
        region, area = _of_runs(shape, size) if shape.kind == "pixels" else _of_corners(shape)
        if region is None or is_far_outside(region, size):
            message = f"{shape.where} of '{image.entry.name}' does not fit its image of {size[0]} x {size[1]}; it is left out"
            faults.append(Fault("contradiction", message, image.file))
            continue
        objects.append(Outlined(shape.label, region, area, layer=shape.layer))
    return objects


def _of_corners(shape: Shape) -> tuple[Region, float]:
    """The pixels of a polygon, and their area."""
    corners = np.array(shape.corners, np.float64).reshape(-1, 2)
    x, y = corners.T
    area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
    return regions.from_polygons(0, [corners.ravel().tolist()] if len(corners) > 2 else []), area


def _of_runs(shape: Shape, size: tuple[int, int]) -> tuple[Region | None, float]:
    """The pixels in a rectangle, and how many there are; None if they do not fit the image."""
    if len(shape.corners) != 2:
        return Region(0), 0.0  # nothing is painted
    (x0, y0), (x1, y1) = shape.corners
    left, top, width, height = int(x0), int(y0), int(x1 - x0), int(y1 - y0)
    runs = np.zeros(0, np.int64) if shape.runs is None else shape.runs
    fits = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1] and size[0] * size[1] <= PIXELS
    if not fits or int(runs.sum()) != width * height:
        return None, 0.0
    within = np.zeros((size[1], size[0]), np.bool_)
    within[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return regions.from_pixels(0, within), float(within.sum())

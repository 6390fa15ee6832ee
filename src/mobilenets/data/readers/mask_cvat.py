"""Reads the polygons, ellipses and masks in CVAT's XML as masks: a pixel has the class of the topmost object on it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from mobilenets.data import regions
from mobilenets.data.entries import Listing, in_order
from mobilenets.data.faults import Fault
from mobilenets.data.readers.cvat import OUTLINED, CvatImage, corners_of, is_cvat, opened
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_objects import Outlined, counted_labels, drawn, is_far_outside, sized
from mobilenets.data.regions import Region
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, whole
from mobilenets.errors import DataError


def read_cvat_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in CVAT's file with masks of their polygons, ellipses and masks.

    Objects lie above each other as in CVAT (`z_order`), and smaller ones above larger ones. An image without objects is all
    background. Boxes, lines and points are left out.

    Args:
        source: as for `cvat.read_cvat`.
        asked: the classes to ignore.

    Raises:
        DataError: the file is of a video, contradicts itself, or has no outlines; the message names the element.
    """
    file = opened(source)
    faults: list[Fault] = []
    images = [replace(image, entry=sized(image.entry, file.path)) for image in file.images]
    outlined = [_objects(image, file.path.name, faults) for image in images]
    if not any(outlined):
        raise DataError(f"'{file.path}' has no polygon, ellipse or mask", hint="is it a dataset of boxes?")
    used = in_order(item.label for objects in outlined for item in objects)
    labels = counted_labels(file.labels(used), asked.ignore, source.text)
    index = {label: i for i, label in enumerate(labels)}
    entries = [
        replace(image.entry, mask=drawn(objects, image.entry.stated or (1, 1), index))
        for image, objects in zip(images, outlined, strict=True)
    ]
    others = sum(shape.tag not in (*OUTLINED, "tag") for image in file.images for shape in image.shapes)
    notes = (f"{others:,} boxes, lines and points have no outline and are left out",) if others else ()
    listing = file.listing(source, entries, labels)
    return replace(listing, task="segment", notes=notes, faults=(*listing.faults, *faults))


def _objects(image: CvatImage, file: str, faults: list[Fault]) -> list[Outlined]:
    size = image.entry.stated or (1, 1)
    objects = []
    for i, shape in enumerate(image.shapes, start=1):
        where = f"{image.where}, shape {i}"
        if shape.tag not in OUTLINED:
            continue
        label = class_name(shape.get("label", ""), where)
        region, area = _of_runs(shape, where, size) if shape.tag == "mask" else _of_corners(shape, where)
        if region is None or is_far_outside(region, size):
            message = f"shape {i} of '{image.entry.name}' does not fit its image of {size[0]} x {size[1]}; it is left out"
            faults.append(Fault("contradiction", message, file))
            continue
        objects.append(Outlined(label, region, area, layer=whole(shape.get("z_order", "")) or 0))
    return objects


def _of_corners(shape: ElementTree.Element, where: str) -> tuple[Region, float]:
    """The pixels of a polygon or ellipse, and their area."""
    corners = np.array(corners_of(shape, where)).reshape(-1, 2)
    x, y = corners.T
    area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
    return regions.from_polygons(0, [corners.ravel().tolist()] if len(corners) > 2 else []), area


def _of_runs(shape: ElementTree.Element, where: str, size: tuple[int, int]) -> tuple[Region | None, float]:
    """The pixels of a mask, and how many there are; None if they do not fit the image.

    CVAT's run lengths go along the rows of the rectangle around the mask; the first is outside.
    """
    texts = [text.strip() for text in shape.get("rle", "").split(",")]
    place = [whole(shape.get(key, "")) for key in ("left", "top", "width", "height")]
    lengths = [whole(text) for text in texts]
    left, top, width, height = (value or 0 for value in place)
    if None in place or None in lengths:
        raise DataError(f"{where} is a mask whose place or run lengths are not whole numbers")
    runs = np.array([length or 0 for length in lengths], np.int64)
    if left + width > size[0] or top + height > size[1] or int(runs.sum()) != width * height:
        return None, 0.0
    within = np.zeros((size[1], size[0]), np.bool_)
    within[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return regions.from_pixels(0, within), float(within.sum())


FORMAT = Format(
    "CVAT's XML file of images with polygons or masks, or a folder with it", is_cvat, read_cvat_masks, "segment", ("ignore",)
)

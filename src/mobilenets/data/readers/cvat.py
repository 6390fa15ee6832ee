"""Reads CVAT's own XML ("CVAT for images 1.1"): one file with all images, and the shapes drawn on them in px."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.documents import read_xml, xml_kind
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, all_or_none, split_in
from mobilenets.data.locate import Locator
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.shapes import (
    Corner,
    Drawn,
    DrawnImage,
    Kind,
    Shape,
    boxes_of,
    ellipse,
    masks_of,
    rectangle,
    turned,
)
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, finite, some, whole
from mobilenets.data.walk import Tree, scan
from mobilenets.errors import DataError

_EDGES = ("xtl", "ytl", "xbr", "ybr")
_KINDS: dict[str, Kind] = {
    "box": "box",
    "polygon": "outline",
    "ellipse": "outline",
    "mask": "pixels",
    "polyline": "line",
}
_TAGGED = "to train a classifier, export the task as ImageNet 1.0, a folder per class"
_DEEPEST = 2  # how many folders below the dataset's the file may be


def is_cvat(source: Source) -> bool:
    """Whether this is CVAT's XML file, or a folder with one."""
    if source.tree is None:
        return source.suffix == ".xml" and xml_kind(source.path) == "cvat"
    return next(_files(source.tree), None) is not None


def read_cvat(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in CVAT's file with their boxes; polygons, ellipses and masks become the boxes around them.

    Raises:
        DataError: the file is of a video, or contradicts itself; the message names the element.
    """
    return boxes_of(opened(source), source)


def read_cvat_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in CVAT's file with masks of their polygons, ellipses and masks, which lie above each other as in CVAT.

    Raises:
        DataError: the file is of a video, contradicts itself, or has no outlines; the message names the element.
    """
    return masks_of(opened(source), source, asked.ignore)


def opened(source: Source) -> Drawn:
    """CVAT's file of a source.

    Raises:
        DataError: the file is of a video, or contradicts itself; the message names the element.
    """
    tree = source.tree or scan(source.path.parent)
    files = list(_files(tree)) if source.tree is not None else [source.path.name]
    if not files:
        raise DataError(f"'{source.text}' contains no CVAT file")
    path, *others = files
    file = tree.root / path
    root = read_xml(file)
    if root.find("track") is not None:
        raise DataError(
            f"'{file}' is CVAT for video; only CVAT for images is read", hint="export it as COCO or as CVAT for images"
        )
    locator = Locator(tree, (path.rpartition("/")[0], "images", ""))
    images: dict[str, DrawnImage] = {}
    for i, image in enumerate(root.iter("image"), start=1):
        where = f"'{file}', image {i}"
        written = image.get("name", "")
        if not written:
            raise DataError(f"{where} has no name")
        image_path = locator.find(written, where)
        name = locator.name(image_path)
        if name in images:
            raise DataError(f"{where}: '{written}' is listed twice")
        size = whole(image.get("width", "")), whole(image.get("height", ""))
        split = SPLIT_WORDS.get(image.get("subset", "").lower()) or split_in(name)
        stated = (size[0], size[1]) if size[0] and size[1] else None
        images[name] = DrawnImage(Entry(image_path, "", name, split, stated=stated), tuple(_shapes(image, where)), path)
    if not images:
        raise DataError(f"'{file}' lists no image")
    splits = all_or_none(image.entry.split for image in images.values())
    listed = tuple(
        replace(image, entry=replace(image.entry, split=split)) for image, split in zip(images.values(), splits, strict=True)
    )
    declared = (class_name(label.text or "", f"'{file}', <labels>") for label in root.iterfind("meta//labels/label/name"))
    tagged = _TAGGED if root.find("image/tag") is not None else ""
    more = f"of {len(others) + 1} CVAT files, only '{path}' is read; to read {some(others, 1)}, give its folder or its file"
    return Drawn(file, listed, tuple(declared), tagged, (more,) if others else (), tree.faults)


def _files(tree: Tree) -> Iterator[str]:
    """CVAT's files, the one that is read first."""
    files = [path for path in tree.with_suffix(".xml") if path.count("/") <= _DEEPEST]
    return (path for path in sorted(files, key=lambda path: path.count("/")) if xml_kind(tree.root / path) == "cvat")


def _shapes(image: ElementTree.Element, within: str) -> Iterator[Shape]:
    for i, shape in enumerate(image, start=1):
        kind = _KINDS.get(shape.tag, "point")
        if shape.tag == "tag":
            continue
        name = f"shape {i}"
        where = f"{within}, {name}"
        label = class_name(shape.get("label", ""), where) if kind != "point" else ""
        corners, runs = _pixels(shape, where) if kind == "pixels" else (_corners(shape, where), None)
        yield Shape(kind, label, tuple(corners), name, runs, layer=whole(shape.get("z_order", "")) or 0)


def _corners(shape: ElementTree.Element, where: str) -> list[Corner]:
    """The corners of a box, polygon, line or ellipse, in px; [] if it has none."""

    def px(key: str) -> float:
        return finite(shape.get(key, ""), f"{where}: {key}")

    degrees = finite(shape.get("rotation", "0"), f"{where}: rotation")
    if shape.tag == "box":
        x0, y0, x1, y1 = (px(key) for key in _EDGES)
        return turned(rectangle(x0, y0, x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2), degrees)
    if shape.tag == "ellipse":
        center = px("cx"), px("cy")
        return turned(ellipse(center, (px("rx"), px("ry"))), center, degrees)
    points = [point.partition(",") for point in shape.get("points", "").split(";") if point]
    return [(finite(x, f"{where}: points"), finite(y, f"{where}: points")) for x, _, y in points]


def _pixels(shape: ElementTree.Element, where: str) -> tuple[list[Corner], NDArray[np.int64]]:
    """The rectangle around a mask, and its run lengths, which go along the rows of the rectangle; the first is outside."""
    place = [whole(shape.get(key, "")) for key in ("left", "top", "width", "height")]
    lengths = [whole(text.strip()) for text in shape.get("rle", "").split(",")]
    if None in place or None in lengths:
        raise DataError(f"{where} is a mask whose place or run lengths are not whole numbers")
    left, top, width, height = (value or 0 for value in place)
    return [(left, top), (left + width, top + height)], np.array([length or 0 for length in lengths], np.int64)


BOXES = Format("CVAT's XML file of images, or a folder with it", is_cvat, read_cvat, "detect")
MASKS = Format(
    "CVAT's XML file of images with polygons or masks, or a folder with it", is_cvat, read_cvat_masks, "segment", ("ignore",)
)

"""Reads CVAT's own XML ("CVAT for images 1.1"): one file with all images and boxes, whose edges are `xtl ytl xbr ybr` in px."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from mobilenets.data.boxes import NamedBox
from mobilenets.data.documents import read_xml, xml_kind
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, all_or_none, in_order, split_in
from mobilenets.data.locate import Locator
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, finite, whole
from mobilenets.data.walk import Tree, scan
from mobilenets.errors import DataError

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_DEEPEST = 2  # folders inside the dataset's in which the file may lie


@dataclass(frozen=True, slots=True)
class CvatImage:
    """An image in CVAT's file.

    Args:
        where: the file and the number of the image in it, for errors.
        entry: the image, without boxes.
        shapes: its boxes, polygons and so on.
    """

    where: str
    entry: Entry
    shapes: tuple[ElementTree.Element, ...]


@dataclass(frozen=True, slots=True)
class CvatFile:
    """CVAT's file.

    Args:
        path: the file.
        tree: the dataset's folder.
        images: what it lists.
        declared: the classes of its task, which need not occur.
    """

    path: Path
    tree: Tree
    images: tuple[CvatImage, ...]
    declared: tuple[str, ...]

    def labels(self, used: Sequence[str]) -> tuple[str, ...]:
        """The classes that occur, in the order of the task; those that it does not declare come last."""
        return tuple(dict.fromkeys([*(label for label in self.declared if label in used), *used]))

    def listing(self, source: Source, entries: Sequence[Entry], labels: Sequence[str]) -> Listing:
        """The listing of these entries, which have the boxes or masks of the images."""
        name = source.path.resolve().name if source.tree is not None else source.path.stem
        return Listing(tuple(entries), tuple(labels), name, faults=self.tree.faults)


def is_cvat(source: Source) -> bool:
    """Whether this is CVAT's XML file, or a folder with one."""
    if source.tree is None:
        return source.suffix == ".xml" and xml_kind(source.path) == "cvat"
    return _file(source.tree) is not None


def read_cvat(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in CVAT's file with their boxes; polygons, ellipses and masks become the boxes around them.

    Raises:
        DataError: the file is of a video, or contradicts itself; the message names the element.
    """
    file = opened(source)
    entries = [replace(image.entry, boxes=tuple(_boxes(image))) for image in file.images]
    if not any(entry.boxes for entry in entries):
        tagged = any(shape.tag == "tag" for image in file.images for shape in image.shapes)
        found = "tags of whole images, but no box, polygon or mask" if tagged else "no box, polygon or mask"
        hint = "to train a classifier, export the task as ImageNet 1.0, a folder per class" if tagged else ""
        raise DataError(f"'{file.path}' has {found}", hint=hint)
    used = in_order(box.label for entry in entries for box in entry.boxes)
    outlined = sum(shape.tag in OUTLINED for image in file.images for shape in image.shapes)
    notes = (f"{outlined:,} polygons and masks were read as the boxes around them; --task segment reads them as masks",)
    listing = file.listing(source, entries, file.labels(used))
    return replace(listing, task="detect", notes=notes if outlined else ())


OUTLINED = ("polygon", "mask", "ellipse")
"""The shapes that say which pixels an object has."""


def opened(source: Source) -> CvatFile:
    """CVAT's file of a source.

    Raises:
        DataError: the file is of a video, or contradicts itself; the message names the element.
    """
    tree = source.tree or scan(source.path.parent)
    path = _file(tree) if source.tree is not None else source.path.name
    if path is None:
        raise DataError(f"'{source.text}' contains no CVAT file")
    file = tree.root / path
    root = read_xml(file)
    if root.find("track") is not None:
        raise DataError(
            f"'{file}' is CVAT for video; only CVAT for images is read", hint="export it as COCO or as CVAT for images"
        )
    locator = Locator(tree, (path.rpartition("/")[0], "images", ""))
    images: dict[str, CvatImage] = {}
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
        images[name] = CvatImage(where, Entry(image_path, "", name, split, stated=stated), tuple(image))
    if not images:
        raise DataError(f"'{file}' lists no image")
    splits = all_or_none(image.entry.split for image in images.values())
    listed = tuple(
        replace(image, entry=replace(image.entry, split=split)) for image, split in zip(images.values(), splits, strict=True)
    )
    declared = (class_name(label.text or "", f"'{file}', <labels>") for label in root.iterfind("meta//labels/label/name"))
    return CvatFile(file, tree, listed, tuple(declared))


def corners_of(shape: ElementTree.Element, where: str) -> list[tuple[float, float]]:
    """The corners of a polygon, a line or an ellipse, in px; () if it has none."""
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (finite(shape.get(key, ""), f"{where}: {key}") for key in ("cx", "cy", "rx", "ry"))
        steps = (2 * math.pi * i / _STEPS for i in range(_STEPS))
        return _turned([(cx + rx * math.cos(step), cy + ry * math.sin(step)) for step in steps], (cx, cy), shape, where)
    points = [point.partition(",") for point in shape.get("points", "").split(";") if point]
    return [(finite(x, f"{where}: points"), finite(y, f"{where}: points")) for x, _, y in points]


_STEPS = 72  # corners of the polygon that stands for an ellipse


def _file(tree: Tree) -> str | None:
    files = [path for path in tree.with_suffix(".xml") if path.count("/") <= _DEEPEST]
    return next(
        (path for path in sorted(files, key=lambda path: path.count("/")) if xml_kind(tree.root / path) == "cvat"), None
    )


def _boxes(image: CvatImage) -> Iterator[NamedBox]:
    for i, shape in enumerate(image.shapes, start=1):
        where = f"{image.where}, shape {i}"
        if shape.tag == "box":
            x0, y0, x1, y1 = (finite(shape.get(key, ""), f"{where}: {key}") for key in _CORNERS)
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
            turned = _turned(corners, ((x0 + x1) / 2, (y0 + y1) / 2), shape, where)
            if turned != corners:
                x0, y0, x1, y1 = _around(turned)
        elif shape.tag in ("polygon", "polyline", "ellipse"):
            corners = corners_of(shape, where)
            if not corners:
                continue
            x0, y0, x1, y1 = _around(corners)
        elif shape.tag == "mask":
            x0, y0, width, height = (
                finite(shape.get(key, ""), f"{where}: {key}") for key in ("left", "top", "width", "height")
            )
            x1, y1 = x0 + width, y0 + height
        else:
            continue
        yield NamedBox(class_name(shape.get("label", ""), where), x0, y0, x1, y1)


def _around(corners: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _turned(
    corners: list[tuple[float, float]], center: tuple[float, float], shape: ElementTree.Element, where: str
) -> list[tuple[float, float]]:
    """The corners after the rotation of their shape, which is given in degrees, clockwise."""
    angle = math.radians(finite(shape.get("rotation", "0"), f"{where}: rotation"))
    if not angle:
        return corners
    (cx, cy), cos, sin = center, math.cos(angle), math.sin(angle)
    return [(cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos) for x, y in corners]


FORMAT = Format("CVAT's XML file of images, or a folder with it", is_cvat, read_cvat, "detect")

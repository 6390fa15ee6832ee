"""Reads CVAT's own XML ("CVAT for images 1.1"): one file with all images and boxes, whose edges are `xtl ytl xbr ybr` in px."""

from __future__ import annotations

from collections.abc import Iterator
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


def is_cvat(source: Source) -> bool:
    """Whether this is CVAT's XML file, or a folder with one."""
    if source.tree is None:
        return source.suffix == ".xml" and xml_kind(source.path) == "cvat"
    return _file(source.tree) is not None


def read_cvat(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in CVAT's file with their boxes; polygons and masks become the boxes around them.

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
    entries: dict[str, Entry] = {}
    for i, image in enumerate(root.iter("image"), start=1):
        where = f"'{file}', image {i}"
        written = image.get("name", "")
        if not written:
            raise DataError(f"{where} has no name")
        image_path = locator.find(written, where)
        name = locator.name(image_path)
        if name in entries:
            raise DataError(f"{where}: '{written}' is listed twice")
        size = whole(image.get("width", "")), whole(image.get("height", ""))
        split = SPLIT_WORDS.get(image.get("subset", "").lower()) or split_in(name)
        stated = (size[0], size[1]) if size[0] and size[1] else None
        entries[name] = Entry(image_path, "", name, split, boxes=tuple(_boxes(image, where)), stated=stated)
    if not entries:
        raise DataError(f"'{file}' lists no image")
    if not any(entry.boxes for entry in entries.values()):
        tagged = root.find("image/tag") is not None
        found = "tags of whole images, but no box, polygon or mask" if tagged else "no box, polygon or mask"
        hint = "to train a classifier, export the task as ImageNet 1.0, a folder per class" if tagged else ""
        raise DataError(f"'{file}' has {found}", hint=hint)
    declared = [class_name(label.text or "", f"'{file}', <labels>") for label in root.iterfind("meta//labels/label/name")]
    used = in_order(box.label for entry in entries.values() for box in entry.boxes)
    labels = tuple(dict.fromkeys([*(label for label in declared if label in used), *used]))
    splits = all_or_none(entry.split for entry in entries.values())
    listed = tuple(
        Entry(entry.path, "", entry.name, split, boxes=entry.boxes, stated=entry.stated)
        for entry, split in zip(entries.values(), splits, strict=True)
    )
    name = source.path.resolve().name if source.tree is not None else source.path.stem
    return Listing(listed, labels, name, task="detect", faults=tree.faults)


def _file(tree: Tree) -> str | None:
    files = [path for path in tree.with_suffix(".xml") if path.count("/") <= _DEEPEST]
    return next(
        (path for path in sorted(files, key=lambda path: path.count("/")) if xml_kind(tree.root / path) == "cvat"), None
    )


def _boxes(image: ElementTree.Element, where: str) -> Iterator[NamedBox]:
    for i, shape in enumerate(image, start=1):
        where_shape = f"{where}, shape {i}"
        if shape.tag == "box":
            x0, y0, x1, y1 = (finite(shape.get(key, ""), f"{where_shape}: {key}") for key in _CORNERS)
        elif shape.tag in ("polygon", "polyline"):
            points = [point.partition(",") for point in shape.get("points", "").split(";") if point]
            xs = [finite(x, f"{where_shape}: points") for x, _, _ in points]
            ys = [finite(y, f"{where_shape}: points") for _, _, y in points]
            if not xs:
                continue
            x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
        elif shape.tag == "mask":
            x0, y0, width, height = (
                finite(shape.get(key, ""), f"{where_shape}: {key}") for key in ("left", "top", "width", "height")
            )
            x1, y1 = x0 + width, y0 + height
        else:
            continue
        yield NamedBox(class_name(shape.get("label", ""), where_shape), x0, y0, x1, y1)


FORMAT = Format("CVAT's XML file of images, or a folder with it", is_cvat, read_cvat, "detect")

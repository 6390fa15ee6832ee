"""Reads labelme: a JSON file for each image, beside it or elsewhere, with the shapes that were drawn on it.

Programs that took over its files, such as AnyLabeling, are read too.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.documents import has_keys, read_json
from mobilenets.data.entries import Entry, Listing, all_or_none, split_in
from mobilenets.data.faults import Fault
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
    runs_of,
)
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, counted, number, shown
from mobilenets.data.walk import Tree, below, scan, stem_of
from mobilenets.errors import DataError
from mobilenets.runtime.images.decode import DECODE_ERRORS

_KEYS = ("shapes", "imagePath")
_GLANCED = 20  # number of files examined to decide whether a folder's JSON files are labelme's
_KINDS: dict[str, Kind] = {
    "rectangle": "box",
    "rotation": "outline",  # X-AnyLabeling's rotated box
    "polygon": "outline",
    "circle": "outline",
    "mask": "pixels",
    "line": "line",
    "linestrip": "line",
}
_FLAGS = "flags of whole images are not read; to train a classifier, list the images in a CSV with the columns path,label"

_Record = Mapping[str, object]


def is_labelme(source: Source) -> bool:
    """Whether this is one of labelme's files, or a folder with such files."""
    if source.tree is None:
        return source.suffix == ".json" and has_keys(source.path, *_KEYS)
    return any(has_keys(source.tree.root / path, *_KEYS) for path in source.tree.with_suffix(".json")[:_GLANCED])


def read_labelme(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of labelme's files with their boxes; polygons, circles and masks become the boxes around them.

    Shapes of one class and one `group_id` are one object.

    Raises:
        DataError: a file is not such JSON, or no image exists; the message names the file and the shape.
    """
    return boxes_of(opened(source), source)


def read_labelme_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of labelme's files with masks of their polygons, circles and masks.

    Pixels of the class `__ignore__` are ignored, as in labelme's own export.

    Raises:
        DataError: a file is not such JSON, no image exists, or there are no outlines; the message names the file and the shape.
    """
    drawn = opened(source)
    used = {shape.label for image in drawn.images for shape in image.shapes}
    return masks_of(drawn, source, tuple(dict.fromkeys([*asked.ignore, *(used & {"__ignore__"})])))


def opened(source: Source) -> Drawn:
    """Labelme's files of a source.

    Raises:
        DataError: there are none, one of them is not such JSON, or no image exists; the message names the file and the shape.
    """
    tree = source.tree or scan(source.path.parent)
    files = tree.with_suffix(".json") if source.tree is not None else [source.path.name]
    locator = Locator(tree)
    images: dict[str, DrawnImage] = {}
    faults = list(tree.faults)
    flags = others = embedded = 0
    for file in files:
        data = read_json(tree.root / file)
        if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
            others += 1
            continue
        image = _image(tree, locator, file, data)
        first = images.setdefault(image.entry.name, image)
        if first is not image:
            faults.append(Fault("contradiction", f"is of '{image.entry.name}', as '{first.file}' is; it is left out", file))
        flags += any(value is True for value in data["flags"].values()) if isinstance(data.get("flags"), dict) else 0
        embedded += bool(data.get("imageData"))
    if not images:
        raise DataError(f"'{source.text}' contains no file of labelme")
    if embedded and not any(name in tree for name in images):
        message = f"'{source.text}' has labelme's files, but not their images, which are only inside these files"
        raise DataError(message, hint="save the images beside them: labelme_export_json FILE.json writes them as img.png")
    splits = all_or_none(split_in(name) for name in images)
    listed = tuple(
        replace(image, entry=replace(image.entry, split=split)) for image, split in zip(images.values(), splits, strict=True)
    )
    notes = (f"{counted(others, 'JSON file')} without shapes of labelme {'is' if others == 1 else 'are'} left out",)
    path = tree.root if source.tree is not None else source.path
    return Drawn(path, listed, tagged=_FLAGS if flags else "", notes=notes if others else (), faults=tuple(faults))


def _image(tree: Tree, locator: Locator, file: str, data: _Record) -> DrawnImage:
    """The image of a file: the one that it names, or else the one that has its own name, if people renamed both."""
    path, written = tree.root / file, data.get("imagePath")
    if not isinstance(written, str) or not written:
        raise DataError(f"'{path}' has no imagePath")
    folder = file.rpartition("/")[0]
    for name in dict.fromkeys((below(folder, written), written, below(folder, stem_of(file)), stem_of(file))):
        found = locator.find(name, f"'{path}'")
        if locator.name(found) in tree or found.is_file():
            break
    else:
        found = locator.find(below(folder, written), f"'{path}'")
    width, height = number(data.get("imageWidth")), number(data.get("imageHeight"))
    size = (int(width), int(height)) if width >= 1 and height >= 1 else None
    shapes = data["shapes"]
    assert isinstance(shapes, list)
    drawn = tuple(_shape(shape, f"shape {i}", path) for i, shape in enumerate(shapes, start=1))
    return DrawnImage(Entry(found, "", locator.name(found), stated=size), drawn, file)


def _shape(shape: object, name: str, path: Path) -> Shape:
    where = f"'{path}', {name}"
    if not isinstance(shape, dict):
        raise DataError(f"{where} is not an object")
    label, points, group = shape.get("label"), shape.get("points"), shape.get("group_id")
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise DataError(f"{where} has the label {shown(label)}, not a name")
    numbers = [list(map(number, point)) for point in points if isinstance(point, list)] if isinstance(points, list) else []
    corners = [(point[0], point[1]) for point in numbers if len(point) == 2 and not math.isnan(sum(point))]
    if not isinstance(points, list) or len(corners) != len(points):
        raise DataError(f"{where} has points that are not a list of x and y", hint="[[x0, y0], [x1, y1], ...]")
    kind = _KINDS.get(str(shape.get("shape_type") or "polygon"), "point")
    runs = None
    if kind == "box" and len(corners) >= 2:
        xs, ys = zip(*corners, strict=True)
        corners = rectangle(min(xs), min(ys), max(xs), max(ys))
    elif shape.get("shape_type") == "circle" and len(corners) == 2:
        radius = math.dist(*corners)
        corners = ellipse(corners[0], (radius, radius))
    elif kind == "pixels":
        corners, runs = _pixels(shape.get("mask"), corners, where)
    elif kind != "point" and len(corners) < (3 if kind == "outline" else 2):
        corners = []
    return Shape(kind, class_name(str(label), where), tuple(corners), name, runs, object="" if group is None else shown(group))


def _pixels(mask: object, corners: list[Corner], where: str) -> tuple[list[Corner], NDArray[np.int64]]:
    """The rectangle around a mask and its run lengths. The mask is a PNG in base64, and the second corner its last pixel."""
    if len(corners) != 2 or not isinstance(mask, str):
        raise DataError(f"{where} is a mask without two points and an image in base64")
    try:
        with Image.open(io.BytesIO(base64.b64decode(mask))) as image:
            within = np.asarray(image.convert("L")) > 0
    except DECODE_ERRORS as error:
        raise DataError(f"{where} has a mask that is not an image in base64") from error
    left, top = round(corners[0][0]), round(corners[0][1])
    return [(left, top), (left + within.shape[1], top + within.shape[0])], runs_of(within)


BOXES = Format("a folder with labelme's JSON files", is_labelme, read_labelme, "detect")
MASKS = Format(
    "a folder with labelme's JSON files of polygons or masks", is_labelme, read_labelme_masks, "segment", ("ignore",)
)

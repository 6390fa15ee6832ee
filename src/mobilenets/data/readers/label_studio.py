"""Reads Label Studio's own export, "JSON" or "JSON-MIN": one file for all images, with shapes in percent of the image.

If an image has several annotations, the one marked as ground truth counts, otherwise the first. Images that nobody annotated,
or that were skipped, are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.documents import has_keys, head_text, read_json
from mobilenets.data.entries import Entry, Listing, all_or_none, in_order, split_in, split_word
from mobilenets.data.faults import EMPTY, Fault
from mobilenets.data.locate import Locator
from mobilenets.data.readers.brush import decoded_brush
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.mask_objects import sized
from mobilenets.data.readers.shapes import (
    Corner,
    Drawn,
    DrawnImage,
    Kind,
    Shape,
    boxes_of,
    ellipse,
    masks_of,
    name_of,
    rectangle,
    runs_of,
    turned,
)
from mobilenets.data.source import Source, around
from mobilenets.data.text import class_name, counted, number, shown, some
from mobilenets.data.walk import SUFFIXES, Tree, stem_of, suffix_of
from mobilenets.errors import DataError, ImageError

_DRAWN = ("original_width", "rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels")
_DEEPEST = 2  # how many folders below the dataset's a file may be
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # prefix of the names of uploaded files
_UNCHOSEN = ("created_at", "updated_at")  # texts of JSON-MIN that are neither the image nor a choice

_Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Task:
    """An image of a file.

    Args:
        where: the file and the task's place in it, for errors.
        file: the file, relative to the dataset's folder.
        entry: the image, without a split.
        results: what was drawn on it.
        choices: the classes that were chosen for the whole image.
    """

    where: str
    file: str
    entry: Entry
    results: tuple[_Record, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Export:
    """The files of a source: the folder or file for errors, their tasks, and what was left out."""

    path: Path
    tasks: tuple[_Task, ...]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


def is_label_studio(source: Source) -> bool:
    """Whether this is Label Studio's own JSON, or a folder with it, and something was drawn."""
    return any(_has_any(path, _DRAWN) for path in _paths(source))


def is_label_studio_choices(source: Source) -> bool:
    """Whether this is Label Studio's own JSON, or a folder with it."""
    return bool(_paths(source))


def read_label_studio(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of Label Studio's file with their boxes; polygons, ellipses and brush strokes become the boxes around them.

    Raises:
        DataError: the file contradicts itself, or nothing was drawn; the message names the task.
    """
    return boxes_of(_drawn(source), source)


def read_label_studio_masks(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of Label Studio's file with masks of their polygons, ellipses and brush strokes.

    Raises:
        DataError: the file contradicts itself, or nothing has an outline; the message names the task.
    """
    return masks_of(_drawn(source), source, asked.ignore)


def read_label_studio_choices(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of Label Studio's file with the choice that was made for each. Images of several choices are left out.

    Raises:
        DataError: the file contradicts itself, or nothing was chosen; the message names the task.
    """
    export = _opened(source)
    chosen = [task for task in export.tasks if len(task.choices) == 1]
    if not chosen:
        message = f"'{export.path}' has no image for which one class was chosen, of {len(export.tasks):,}"
        raise DataError(message, hint=f"nothing was drawn on them either; {EMPTY}")
    entries = tuple(replace(task.entry, label=task.choices[0]) for task in chosen)
    several = [task for task in export.tasks if len(task.choices) > 1]
    left = "but a classifier learns one class for each image; it is left out"
    faults = [Fault("contradiction", f"has the choices {some(task.choices)}, {left}", task.entry.name) for task in several]
    none = len(export.tasks) - len(chosen) - len(several)
    notes = _note(none, "has no choice and is left out", "have no choice and are left out")
    labels = in_order(entry.label for entry in entries)
    return Listing(entries, labels, name_of(source), (*export.notes, *notes), faults=(*export.faults, *faults))


def _paths(source: Source) -> list[Path]:
    """Label Studio's files of a source."""
    if source.tree is None:
        return [source.path] if source.suffix == ".json" and _is_export(source.path) else []
    tree = source.tree
    return [tree.root / path for path in _files(tree)]


def _files(tree: Tree) -> list[str]:
    return [path for path in tree.with_suffix(".json") if path.count("/") <= _DEEPEST and _is_export(tree.root / path)]


def _is_export(path: Path) -> bool:
    return head_text(path).lstrip().startswith("[") and _has_any(path, (*_DRAWN, "lead_time"))


def _has_any(path: Path, keys: Sequence[str]) -> bool:
    return any(has_keys(path, key) for key in keys)


def _drawn(source: Source) -> Drawn:
    export = _opened(source)
    images = tuple(DrawnImage(task.entry, tuple(_shapes(task)), task.file) for task in export.tasks)
    tagged = "--task classify reads the choices" if any(task.choices for task in export.tasks) else ""
    return Drawn(export.path, images, tagged=tagged, notes=export.notes, faults=export.faults)


def _opened(source: Source) -> _Export:
    tree, file = (source.tree, "") if source.tree is not None else around(source.path)
    files = [file] if file else _files(tree)
    if not files:
        raise DataError(f"'{source.text}' contains no file of Label Studio")
    locator = Locator(tree, ("", "images"))
    tasks: dict[str, _Task] = {}
    faults = list(tree.faults)
    several = unread = 0
    for file in files:
        path = tree.root / file
        records = read_json(path)
        for i, record in enumerate(records if isinstance(records, list) else []):
            where = f"'{path}': task {i + 1}"
            if not isinstance(record, dict):
                raise DataError(f"{where} is not an object")
            annotations = _annotations(record, where)
            several += len(annotations) > 1
            if not annotations:
                unread += 1
                continue
            task = _task(tree, locator, file, record, annotations[0], where)
            if task.entry.name in tasks:
                faults.append(Fault("contradiction", f"task {i + 1} repeats '{task.entry.name}'; it is left out", file))
            else:
                tasks[task.entry.name] = task
    path = tree.root / files[0] if len(files) == 1 else tree.root
    if not tasks:
        raise DataError(f"'{path}' has no image that was annotated")
    splits = all_or_none(task.entry.split for task in tasks.values())
    pairs = zip(tasks.values(), splits, strict=True)
    whole = tuple(replace(task, entry=replace(task.entry, split=split)) for task, split in pairs)
    notes = _note(unread, "was not annotated or skipped, and is left out", "were not annotated or skipped, and are left out")
    which = "several annotations; the ground truth or the first is read"
    notes += _note(several, f"has {which}", f"have {which}")
    return _Export(path, whole, notes, tuple(faults))


def _note(n: int, one: str, many: str) -> tuple[str, ...]:
    """The note about this number of images; empty if it is 0."""
    return (counted(n, f"image {one}", f"images {many}"),) if n else ()


def _annotations(record: _Record, where: str) -> list[list[_Record]]:
    """The results of each annotation of a task, preferred one first; in JSON-MIN, the results of the only annotation."""
    listed = record.get("annotations", record.get("completions"))
    if listed is None:
        return [[item for value in record.values() if isinstance(value, list) for item in value if isinstance(item, dict)]]
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise DataError(f"{where} has annotations that are not a list of objects")
    valid = [item for item in listed if not item.get("was_cancelled") and isinstance(item.get("result"), list)]
    valid.sort(key=lambda item: not item.get("ground_truth"))
    return [[result for result in item["result"] if isinstance(result, dict)] for item in valid]


def _task(tree: Tree, locator: Locator, file: str, record: _Record, results: list[_Record], where: str) -> _Task:
    data = record.get("data", record)
    texts = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    address = next((text for text in texts.values() if suffix_of(_path_in(text)) in SUFFIXES), texts.get("image", ""))
    if not address:
        raise DataError(f"{where} names no image")
    written = _path_in(address)
    bare = _PREFIX.sub("", written.rpartition("/")[2])
    found = [locator.find(name, where) for name in dict.fromkeys((written, bare)) if name]
    path = next((path for path in found if locator.name(path) in tree), found[0])
    name = locator.name(path)
    split = split_in(name) or split_word(stem_of(file))
    drawn = tuple(result if "value" not in result else {**result, **_values(result)} for result in results)
    chosen = [choice for result in drawn for choice in _texts(result.get("choices"))]
    if "data" not in record and not drawn:  # JSON-MIN
        chosen = [text for key, text in texts.items() if text != address and key not in _UNCHOSEN]
        choices = next((value for value in record.values() if isinstance(value, dict) and "choices" in value), {})
        chosen = _texts(choices.get("choices")) or chosen
    labels = tuple(class_name(choice, where) for choice in chosen)
    return _Task(where, file, Entry(path, "", name, split, stated=_size(drawn)), drawn, labels)


def _values(result: _Record) -> _Record:
    value = result["value"]
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _path_in(address: str) -> str:
    """The path of an image in its address: also of /data/local-files/?d=a.jpg, and without a signature after it."""
    local = address.partition("?d=")[2]
    return unquote(local or address.partition("?")[0])


def _size(results: tuple[_Record, ...]) -> tuple[int, int] | None:
    """The width and height of the image, as the first result states it."""
    for result in results:
        width, height = number(result.get("original_width")), number(result.get("original_height"))
        if width >= 1 and height >= 1:
            return int(width), int(height)
    return None


def _shapes(task: _Task) -> Iterator[Shape]:
    """The shapes drawn on an image, corners in px. A shape without label is skipped: with separate tags it is listed twice."""
    size = task.entry.stated
    for i, result in enumerate(task.results, start=1):
        labels = next((texts for key in result if key.endswith("labels") and (texts := _texts(result[key]))), [])
        kind = _kind(result)
        if not labels or kind is None:
            continue
        name = f"result {i}"
        where = f"{task.where}, {name}"
        if number(result.get("image_rotation", 0)) != 0:
            raise DataError(
                f"{where} is on an image that was rotated in Label Studio", hint="rotate the image file itself instead"
            )
        if size is None:
            size = sized(task.entry, Path(task.file)).stated
        assert size is not None
        runs = None
        if kind == "pixels":
            corners, runs = _painted(result, where, size)
        else:
            corners = _corners(result, where, size)
        yield Shape(kind, class_name(labels[0], where), tuple(corners), name, runs)


def _kind(result: _Record) -> Kind | None:
    if "rle" in result:
        return "pixels"
    if "points" in result:
        return "line" if result.get("closed") is False else "outline"
    if "radiusX" in result:
        return "outline"
    return "box" if "height" in result else "point" if "x" in result else None


def _corners(result: _Record, where: str, size: tuple[int, int]) -> list[Corner]:
    """The corners of a box, polygon or ellipse. A box rotates about its top left corner, an ellipse about its center."""
    width, height = size[0] / 100, size[1] / 100
    points = result.get("points")
    if points is not None:
        listed = [list(map(number, point)) for point in points if isinstance(point, list)] if isinstance(points, list) else []
        corners = [(point[0] * width, point[1] * height) for point in listed if len(point) == 2 and not math.isnan(sum(point))]
        if not isinstance(points, list) or len(corners) != len(points):
            raise DataError(f"{where} has points that are not a list of x and y")
        return corners

    def percent(key: str, default: object = None) -> float:
        value = number(result.get(key, default))
        if math.isnan(value):
            raise DataError(f"{where} has {key} {shown(result.get(key))}, not a number")
        return value

    x, y, degrees = percent("x") * width, percent("y") * height, percent("rotation", 0)
    if "radiusX" in result:
        return turned(ellipse((x, y), (percent("radiusX") * width, percent("radiusY") * height)), (x, y), degrees)
    if "height" not in result:
        return [(x, y)]
    return turned(rectangle(x, y, x + percent("width") * width, y + percent("height") * height), (x, y), degrees)


def _painted(result: _Record, where: str, size: tuple[int, int]) -> tuple[list[Corner], NDArray[np.int64] | None]:
    """The rectangle around what a brush painted, and its run lengths."""
    data = result["rle"]
    try:
        within = decoded_brush(data if isinstance(data, list) else [], *size)
    except ImageError as error:
        raise DataError(f"{where} is a brush stroke, but {error}") from error
    xs, ys = np.flatnonzero(within.any(axis=0)), np.flatnonzero(within.any(axis=1))
    if not len(xs):
        return [], None
    left, right, top, bottom = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
    return [(left, top), (right, bottom)], runs_of(within[top:bottom, left:right])


_TITLE = "Label Studio's JSON export, or a folder with it"
BOXES = Format(_TITLE, is_label_studio, read_label_studio, "detect")
MASKS = Format(f"{_TITLE}, with polygons or brush strokes", is_label_studio, read_label_studio_masks, "segment", ("ignore",))
CHOICES = Format(f"{_TITLE}, with choices", is_label_studio_choices, read_label_studio_choices, "classify")

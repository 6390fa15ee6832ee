"""Reads YOLO: one text file per image and one line per box, `class center_x center_y width height`, as shares of its sides.

The labels of `images/train/a.jpg` are in `labels/train/a.txt`, or beside the image, or in a folder of another name. An image
without such a file shows no object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.yolo_places import (
    LAYOUT,
    Places,
    darknet_file,
    from_darknet,
    from_folders,
    from_yaml,
    has_labels,
    label_files,
    labels_path,
    yaml_file,
)
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.text import read_text, shown
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size

_MOST = 2.0  # shares beyond this are px

Shares = tuple[int, float, float, float, float]
"""A box: class, x0, y0, x1 and y1, as shares of the image."""


def is_yolo(source: Source) -> bool:
    """Whether this is a YAML file, or a folder with one, with Darknet's obj.data, or with label files beside its images."""
    if source.tree is None:
        return source.suffix in (".yaml", ".yml", ".data")
    return yaml_file(source.tree) is not None or darknet_file(source.tree) is not None or has_labels(source.tree)


def read_yolo(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a YOLO dataset with their boxes; polygons and poses become the boxes around them.

    Raises:
        DataError: a file cannot be read or a line is not valid; the message names it.
    """
    places = _places(source)
    if not places.images:
        raise DataError(f"'{source.text}' lists no image", hint=LAYOUT)
    faults: list[Fault] = [*places.tree.faults, *places.faults]
    entries: dict[Path, Entry] = {}
    for path, split in places.images:
        first = entries.get(path)
        if first is not None and first.split != split:
            message = f"is in {first.split} and in {split}; it stays in {split} only"
            faults.append(Fault("split-twice", message, first.name))
            del entries[path]
        elif first is not None:
            continue
        entries[path] = _entry(places, path, split, faults)
    faults += _strays(places, entries)
    listed = tuple(entries.values())
    if not any(entry.boxes for entry in listed) and not any(path in places.labels for path in entries):
        expected = _below(labels_path(next(iter(entries))), places.tree.root)
        raise DataError(f"'{source.text}' has no label file for any image; expected '{expected}', for example", hint=LAYOUT)
    name = places.tree.root.resolve().name
    return Listing(listed, tuple(places.names.values()), name, places.notes, task="detect", faults=tuple(faults))


def _places(source: Source) -> Places:
    if source.tree is None:
        if source.suffix == ".data":
            from mobilenets.data.walk import scan

            return from_darknet(scan(source.path.parent), source.path.name)
        return from_yaml(source.path)
    yaml = yaml_file(source.tree)
    if yaml is not None:
        return from_yaml(source.tree.root / yaml)
    darknet = darknet_file(source.tree)
    return from_darknet(source.tree, darknet) if darknet is not None else from_folders(source.tree)


def _entry(places: Places, image: Path, split: Split | None, faults: list[Fault]) -> Entry:
    root = places.tree.root
    name = _below(image, root)
    path = places.labels.get(image)
    if path is None:
        expected = _below(labels_path(image), root)
        faults.append(Fault("unannotated", f"has no label file {expected}, so it counts as an image without objects", name))
        return Entry(image, "", name, split)
    text = read_text(path)
    lines = list(_lines(path, text.lines, places.keypoints))
    known = [line for line in lines if line[0] in places.names]
    for index in dict.fromkeys(line[0] for line in lines if line[0] not in places.names):
        message = f"has a box of class {index}, but {_range(places.names)}; it is left out"
        faults.append(Fault("unknown-class", message, _below(path, root)))
    if not known:
        return Entry(image, "", name, split)
    try:
        width, height = upright_size(image)
    except ImageError:
        return Entry(image, "", name, split)  # named as broken when it is looked at
    boxes = (NamedBox(places.names[index], x0 * width, y0 * height, x1 * width, y1 * height) for index, x0, y0, x1, y1 in known)
    return Entry(image, "", name, split, boxes=tuple(boxes))


def _range(names: Mapping[int, str]) -> str:
    return (
        f"there are names for 0 to {len(names) - 1}"
        if list(names) == list(range(len(names)))
        else f"there are {len(names)} names"
    )


def _lines(path: Path, lines: Iterable[str], keypoints: int) -> Iterator[Shares]:
    """The boxes of a label file."""
    for i, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        where = f"'{path}' line {i}"
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{where} is {shown(line.strip())}, not only numbers") from error
        yield _shares(where, words, values, keypoints)


def _shares(where: str, words: list[str], values: list[float], keypoints: int) -> Shares:
    """The box on a line: five numbers, six with a score, a pose, or a polygon, which becomes the box around it."""
    pose = len(values) == 5 + keypoints if keypoints else _has_visibilities(values)
    if len(values) < 5 or (len(values) > 6 and len(values) % 2 == 0 and not pose):
        raise DataError(f"{where} has {len(values)} numbers, not five", hint="a line is: class center_x center_y width height")
    if not math.isfinite(values[0]) or values[0] != int(values[0]):
        raise DataError(f"{where}: the class is {shown(words[0])}, not a whole number")
    shares = values[1:5] if len(values) <= 6 or pose else values[1:]
    wrong = next((word for word, value in zip(words[1:], shares, strict=False) if not abs(value) <= _MOST), None)
    if wrong is not None:
        raise DataError(f"{where}: {wrong[:20]} is not a share of the image", hint="divide px by the image's width or height")
    if len(shares) == 4:
        x, y, width, height = shares
        return int(values[0]), x - width / 2, y - height / 2, x + width / 2, y + height / 2
    xs, ys = shares[::2], shares[1::2]
    return int(values[0]), min(xs), min(ys), max(xs), max(ys)


def _has_visibilities(values: list[float]) -> bool:
    """Whether a box is followed by points of x, y and a visibility of 0, 1 or 2, which no polygon has at every third place."""
    rest = values[5:]
    return len(rest) >= 6 and len(rest) % 3 == 0 and all(value in (0, 1, 2) for value in rest[2::3])


def _strays(places: Places, entries: Mapping[Path, Entry]) -> list[Fault]:
    """Label files without an image, in the folders that have label files with one."""
    used = {places.labels[path] for path in entries if path in places.labels}
    folders = {path.parent for path in used} | {labels_path(path).parent for path in entries}
    files = (places.tree.root / path for path in label_files(places.tree))
    strays = sorted(path for path in files if path not in used and path.parent in folders)
    return [Fault("stray", "has no image and is left out", _below(path, places.tree.root)) for path in strays]


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


FORMAT = Format(
    "a data.yaml, or a folder with YOLO's label files and data.yaml, obj.data or classes.txt", is_yolo, read_yolo, "detect"
)

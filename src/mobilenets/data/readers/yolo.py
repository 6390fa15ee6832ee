"""Reads YOLO: one text file per image and one line per box, `class center_x center_y width height`, as shares of its sides.

The labels of `images/train/a.jpg` are in `labels/train/a.txt`, beside the image, or in a folder with another name. An image
without such a file shows no object.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.yolo_lines import read_lines
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
from mobilenets.data.text import read_text
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size


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
    places = places_of(source)
    if not places.images:
        raise DataError(f"'{source.text}' lists no image", hint=LAYOUT)
    faults: list[Fault] = [*places.tree.faults, *places.faults]
    outlined: list[Path] = []
    entries: dict[Path, Entry] = {}
    for path, split in places.images:
        first = entries.get(path)
        if first is not None and first.split != split:
            message = f"is in {first.split} and in {split}; it stays in {split} only"
            faults.append(Fault("split-twice", message, first.name))
            del entries[path]
        elif first is not None:
            continue
        entries[path] = _entry(places, path, split, faults, outlined)
    faults += _strays(places, entries)
    listed = tuple(entries.values())
    if not any(entry.boxes for entry in listed) and not any(path in places.labels for path in entries):
        expected = _below(labels_path(next(iter(entries))), places.tree.root)
        raise DataError(f"'{source.text}' has no label file for any image; expected '{expected}', for example", hint=LAYOUT)
    name = places.tree.root.resolve().name
    have = "label file has" if len(outlined) == 1 else "label files have"
    polygons = f"{len(outlined):,} {have} polygons, read as the boxes around them; --task segment reads them as masks"
    notes = (*places.notes, polygons) if outlined else places.notes
    return Listing(listed, tuple(places.names.values()), name, notes, task="detect", faults=tuple(faults))


def places_of(source: Source) -> Places:
    """Where the parts of a YOLO dataset are.

    Raises:
        DataError: its description cannot be read, or names no classes or no images.
    """
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


def _entry(places: Places, image: Path, split: Split | None, faults: list[Fault], outlined: list[Path]) -> Entry:
    root = places.tree.root
    name = _below(image, root)
    path = places.labels.get(image)
    if path is None:
        expected = _below(labels_path(image), root)
        faults.append(Fault("unannotated", f"has no label file {expected}, so it counts as an image without objects", name))
        return Entry(image, "", name, split)
    text = read_text(path)
    lines = list(read_lines(path, text.lines, places.keypoints))
    if any(line.polygon for line in lines):
        outlined.append(path)
    known = [line for line in lines if line.class_index in places.names]
    for index in dict.fromkeys(line.class_index for line in lines if line.class_index not in places.names):
        message = f"has a box of class {index}, but {_range(places.names)}; it is left out"
        faults.append(Fault("unknown-class", message, _below(path, root)))
    if not known:
        return Entry(image, "", name, split)
    try:
        width, height = upright_size(image)
    except ImageError:
        return Entry(image, "", name, split)  # reported as broken when it is decoded
    boxes = (
        NamedBox(places.names[line.class_index], line.x0 * width, line.y0 * height, line.x1 * width, line.y1 * height)
        for line in known
    )
    return Entry(image, "", name, split, boxes=tuple(boxes))


def _range(names: Mapping[int, str]) -> str:
    return (
        f"there are names for 0 to {len(names) - 1}"
        if list(names) == list(range(len(names)))
        else f"there are {len(names)} names"
    )


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

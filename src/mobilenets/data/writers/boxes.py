"""Writes detection datasets as Pascal VOC, COCO, YOLO or CSV; the package's own readers read them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from mobilenets.data.boxes import Box
from mobilenets.data.readers.voc import LABELS_FILE
from mobilenets.data.samples import SPLITS, Dataset
from mobilenets.data.writers.images import Placed, copy, new_folder, place, plain, write_text
from mobilenets.data.writers.lists import number, write_box_list
from mobilenets.errors import DataError
from mobilenets.specs.model import TASK_NOUNS
from mobilenets.table import Table

Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Writer:
    """One format for boxes.

    Args:
        title: the files that are written, for messages and documentation.
        folder: returns the folder of an image, relative to the dataset's folder.
        write: writes everything except the images; returns what the format cannot express, one line each for people to read.
    """

    title: str
    folder: Callable[[Placed], str]
    write: Callable[[Dataset, Sequence[Placed], Path], list[str]]


def write_boxes(
    dataset: Dataset, folder: Path, kind: str, *, link: bool = False, advance: Advance | None = None
) -> tuple[str, ...]:
    """Write a dataset in another format, with its images. The folder appears when it is complete.

    Args:
        dataset: a detection dataset; its splits are kept.
        folder: a folder that does not exist yet, or is empty.
        kind: a name in `WRITERS`.
        link: whether images are linked instead of copied.
        advance: called with 1 after each image.

    Returns:
        What was left out or changed, one line each for people to read.

    Raises:
        DataError: the dataset has no boxes to write, or something cannot be written.
        UnknownNameError: there is no such format.
    """
    writer = WRITERS[kind]
    if dataset.task != "detect":
        raise DataError(f"'{dataset.name}' has no boxes to write: it is a {TASK_NOUNS[dataset.task]} dataset")
    for label in dataset.labels:
        if plain(label) != label:
            raise DataError(f"the class name {label!r} cannot be written in the format {kind}", hint="rename the class")
    notes: list[str] = []
    with new_folder(folder) as draft:
        placed = place(dataset, notes)
        for image in placed:
            target = draft / writer.folder(image)
            target.mkdir(parents=True, exist_ok=True)
            copy(image, target, link=link)
            if advance is not None:
                advance(1)
        notes += writer.write(dataset, placed, draft)
    return tuple(notes)


def yolo_line(label: int, corners: tuple[float, float, float, float], width: int, height: int) -> str:
    """A line of YOLO's text files: the class, then the center, width and height of the box as shares of the image.

    >>> yolo_line(2, (10, 20, 30, 40), 200, 100)
    '2 0.1 0.3 0.1 0.2'
    """
    x0, y0, x1, y1 = corners
    x, y = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
    return f"{label} {x:.10g} {y:.10g} {(x1 - x0) / width:.10g} {(y1 - y0) / height:.10g}"


def _write_voc(dataset: Dataset, placed: Sequence[Placed], folder: Path) -> list[str]:
    for image in placed:
        root = ElementTree.Element("annotation")
        _add(root, folder="JPEGImages", filename=image.name)
        _add(ElementTree.SubElement(root, "source"), database=dataset.name)
        _add(ElementTree.SubElement(root, "size"), width=str(image.width), height=str(image.height), depth="3")
        _add(root, segmented="0")
        for box in image.sample.boxes:
            item = ElementTree.SubElement(root, "object")
            _add(item, name=dataset.labels[box.label], pose="Unspecified", truncated="0")
            _add(item, difficult="01"[box.difficult or box.crowd])
            x0, y0, x1, y1 = box.corners  # VOC counts pixels from 1, inclusive
            corners = {"xmin": number(x0 + 1), "ymin": number(y0 + 1), "xmax": number(x1), "ymax": number(y1)}
            _add(ElementTree.SubElement(item, "bndbox"), **corners)
        ElementTree.indent(root, "\t")
        write_text(folder / "Annotations" / f"{image.stem}.xml", ElementTree.tostring(root, "unicode") + "\n")
    sets = {"train": ["train"], "val": ["val"], "trainval": ["train", "val"], "test": ["test"]}
    for name, splits in sets.items():
        stems = sorted(image.stem for image in placed if image.sample.split in splits)
        if stems:
            write_text(folder / "ImageSets" / "Main" / f"{name}.txt", _lines(stems))
    write_text(folder / LABELS_FILE, _lines(dataset.labels))
    crowds = _count(placed, lambda box: box.crowd)
    return [f"{_boxes(crowds, 'crowd')} written as difficult: VOC has no crowds"] if crowds else []


def _write_coco(dataset: Dataset, placed: Sequence[Placed], folder: Path) -> list[str]:
    categories = [{"id": i, "name": label} for i, label in enumerate(dataset.labels, start=1)]
    ids = {image.name: i for i, image in enumerate(placed, start=1)}
    count = 0
    for split in SPLITS:
        of_split = [image for image in placed if image.sample.split == split]
        annotations: list[dict[str, object]] = []
        for image in of_split:
            for box in image.sample.boxes:
                count += 1
                annotations.append(
                    {
                        "id": count,
                        "image_id": ids[image.name],
                        "category_id": box.label + 1,
                        "bbox": [box.x0, box.y0, box.width, box.height],
                        "area": box.width * box.height,
                        "iscrowd": int(box.crowd),
                        "segmentation": [],
                        **({"difficult": 1} if box.difficult else {}),
                    }
                )
        images = [
            {"id": ids[image.name], "file_name": image.name, "width": image.width, "height": image.height} for image in of_split
        ]
        data = {"info": {"description": dataset.name}, "images": images, "annotations": annotations}
        if of_split:
            text = json.dumps({**data, "categories": categories}, ensure_ascii=False)
            write_text(folder / "annotations" / f"instances_{split}.json", text + "\n")
    return []


def _write_yolo(dataset: Dataset, placed: Sequence[Placed], folder: Path) -> list[str]:
    for image in placed:
        lines = []
        for box in image.sample.boxes:
            if box.crowd:
                continue
            lines.append(yolo_line(box.label, box.corners, image.width, image.height))
        write_text(folder / "labels" / image.sample.split / f"{image.stem}.txt", _lines(lines))
    keys = [f"{split}: images/{split}" for split in SPLITS if any(image.sample.split == split for image in placed)]
    names = [f"  {i}: {json.dumps(label, ensure_ascii=False)}" for i, label in enumerate(dataset.labels)]
    write_text(folder / "data.yaml", _lines(["path: .", *keys, "names:", *names]))
    crowds = _count(placed, lambda box: box.crowd)
    difficult = _count(placed, lambda box: box.difficult and not box.crowd)
    notes = [f"{_boxes(crowds, 'crowd')} left out: YOLO has no crowds"] if crowds else []
    return [*notes, f"{_boxes(difficult, 'difficult')} written like any other: YOLO has no such flag"] if difficult else notes


def _write_csv(dataset: Dataset, placed: Sequence[Placed], folder: Path) -> list[str]:
    moved = replace(
        dataset,
        samples=tuple(
            replace(image.sample, path=folder / "images" / image.name, name=f"images/{image.name}", url="", member=None)
            for image in placed
        ),
    )
    write_box_list(moved, folder / "boxes.csv", below=folder)
    used = {box.label for image in placed for box in image.sample.boxes}
    unused = [label for i, label in enumerate(dataset.labels) if i not in used]
    return [f"the class '{label}' has no box, so it is missing from the list" for label in unused]


def _add(element: ElementTree.Element, **children: str) -> None:
    for tag, text in children.items():
        ElementTree.SubElement(element, tag).text = text


def _count(placed: Sequence[Placed], holds: Callable[[Box], bool]) -> int:
    return sum(holds(box) for image in placed for box in image.sample.boxes)


def _boxes(n: int, kind: str) -> str:
    """The subject and the verb of a note: "1 crowd box is"."""
    return f"1 {kind} box is" if n == 1 else f"{n:,} {kind} boxes are"


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# fmt: off
WRITERS: Table[Writer] = Table("format of boxes", {
    "voc":  Writer("Annotations/*.xml, JPEGImages/ and ImageSets/Main/*.txt",
                   lambda image: "JPEGImages", _write_voc),
    "coco": Writer("annotations/instances_{train,val,test}.json and a folder of images for each split",
                   lambda image: image.sample.split, _write_coco),
    "yolo": Writer("data.yaml, images/ and labels/, with a folder for each split",
                   lambda image: f"images/{image.sample.split}", _write_yolo),
    "csv":  Writer("boxes.csv and images/",
                   lambda image: "images", _write_csv),
})
# fmt: on
"""The formats in which detection datasets can be written."""

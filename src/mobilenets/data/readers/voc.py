"""Pascal VOC: an XML file of boxes per image, in Annotations/ beside JPEGImages/ and ImageSets/Main/, or beside the image.

How corners are counted differs between the programs that write such files:

- VOC itself counts pixels from 1 and means the last one inclusively: `x0 = xmin - 1, x1 = xmax`.
- labelImg (its files name a `path` and the database "Unknown") writes edges, and 1 where the edge is 0:
  `x0 = xmin`, or 0 for 1, and `x1 = xmax`. A box with equal corners is then one without area.
- Other programs count from 0. Where more boxes begin at 0 than at 1, the numbers are edges: `x0 = xmin, x1 = xmax`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import SPLIT_WORDS, SUFFIXES, Entry, Listing, in_order
from mobilenets.data.faults import Fault
from mobilenets.data.readers.voc_sets import read_sets
from mobilenets.data.samples import Split
from mobilenets.data.words import finite, text_of
from mobilenets.errors import DataError

LABELS_FILE = "labels.txt"
"""The classes in their order, one a line, where a dataset has this file; else the names in the files, sorted."""

Counting = Literal["from 1", "labelImg", "edges"]

_ANNOTATIONS, _IMAGES, _SETS = "Annotations", ("JPEGImages", "Images", "images"), ("ImageSets", "Main")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LAYOUT = "expected Annotations/*.xml with JPEGImages/ and ImageSets/Main/*.txt beside it, or XML files beside the images"


@dataclass(frozen=True, slots=True)
class _Object:
    label: str
    corners: tuple[float, float, float, float]
    difficult: bool
    crowd: bool


@dataclass(frozen=True, slots=True)
class _Annotation:
    size: tuple[int, int] | None
    by_labelimg: bool
    objects: tuple[_Object, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """An image with its annotation, either of which may be missing."""

    image: Path | None
    annotation: Path | None
    split: Split | None


def is_voc(source: str) -> bool:
    """Whether there is a folder with Annotations/*.xml, or with XML files, itself or in its split folders."""
    folder = Path(source)
    return folder.is_dir() and (_has_xml(folder / _ANNOTATIONS) or bool(_flat_folders(folder)))


def read_voc(folder: Path) -> Listing:
    """The images of the folder with their boxes.

    Splits are those of ImageSets/Main/{train,val,trainval,test}.txt, or the folders train/, valid/ and test/.
    An image that no split file names is left out, and so is one without an annotation file.

    Raises:
        DataError: a file cannot be read or is no such annotation; says which, and where in it.
    """
    notes: list[str] = []
    if (folder / _ANNOTATIONS).is_dir():
        places, faults = _in_sets(folder, notes)
    else:
        places, faults = _beside(folder), []
    annotations = {place.annotation: _read(place.annotation) for place in places if place.annotation is not None}
    labels = _labels(folder, annotations.values())
    from_zero = _counts_from_zero(annotations.values())
    entries = []
    for place in places:
        if place.annotation is None:
            assert place.image is not None
            faults.append(Fault("unannotated", "has no annotation file and is left out", _below(place.image, folder)))
            continue
        found = annotations[place.annotation]
        if place.image is None:
            faults.append(Fault("stray", "has no image and is left out", _below(place.annotation, folder)))
            continue
        counting: Counting = "labelImg" if found.by_labelimg else "edges" if from_zero else "from 1"
        for one in found.objects:
            if one.label not in labels:
                message = f"has a box of '{one.label}', which {LABELS_FILE} does not list; it is left out"
                faults.append(Fault("unknown-class", message, _below(place.annotation, folder)))
        boxes = tuple(_box(one, counting) for one in found.objects if one.label in labels)
        name = _below(place.image, folder)
        entries.append(Entry(place.image, "", name, place.split, boxes=boxes, stated=found.size))
    if not entries:
        raise DataError(f"no annotation in '{folder}' has its image", hint=_LAYOUT)
    notes += _counted(annotations.values(), from_zero)
    return Listing(tuple(entries), labels, folder.resolve().name, tuple(notes), task="detect", faults=tuple(faults))


def _in_sets(folder: Path, notes: list[str]) -> tuple[list[_Place], list[Fault]]:
    """The images of the split files, or where there are none all that have an image or an annotation."""
    images = _images(folder)
    annotations = {path.stem: path for path in _files(folder / _ANNOTATIONS, {".xml"})}
    splits, faults = read_sets(folder.joinpath(*_SETS), images.keys())
    if not splits:
        stems = sorted(images.keys() | annotations.keys())
        return [_Place(images.get(stem), annotations.get(stem), None) for stem in stems], faults
    places = []
    for stem, split in splits.items():
        image = images.get(stem, next(_candidates(folder)) / f"{stem}.jpg")  # named as missing when it is looked at
        places.append(_Place(image, annotations.get(stem), split))
    unlisted = images.keys() & annotations.keys() - splits.keys()
    if unlisted:
        notes.append(f"{len(unlisted)} images are in no split of ImageSets/Main and left out, such as '{min(unlisted)}'")
    places += [_Place(None, annotations[stem], None) for stem in sorted(annotations.keys() - images.keys() - splits.keys())]
    places += [_Place(images[stem], None, None) for stem in sorted(images.keys() - annotations.keys() - splits.keys())]
    return places, faults


def _beside(folder: Path) -> list[_Place]:
    """Images and XML files of the same name in one folder."""
    places = []
    for inner, split in _flat_folders(folder):
        images = {path.stem: path for path in _files(inner, SUFFIXES)}
        annotations = {path.stem: path for path in _files(inner, {".xml"})}
        stems = sorted(images.keys() | annotations.keys())
        places += [_Place(images.get(stem), annotations.get(stem), split) for stem in stems]
    return places


def _flat_folders(folder: Path) -> list[tuple[Path, Split | None]]:
    if _has_xml(folder):
        return [(folder, None)]
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.lower() in SPLIT_WORDS)
    return [(path, SPLIT_WORDS[path.name.lower()]) for path in inner if _has_xml(path)]


def _has_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.xml"), None) is not None


def _candidates(folder: Path) -> Iterator[Path]:
    found = [folder / name for name in _IMAGES if (folder / name).is_dir()]
    yield from found or [folder / _IMAGES[0]]


def _images(folder: Path) -> dict[str, Path]:
    return {path.stem: path for inner in _candidates(folder) if inner.is_dir() for path in _files(inner, SUFFIXES)}


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror}") from error


def _read(path: Path) -> _Annotation:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"'{path}' is no XML: {error}") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error
    if root.tag not in ("annotation", "annotations"):
        raise DataError(f"'{path}' begins with <{root.tag}>, not with <annotation>", hint=_LAYOUT)
    width, height = (int(_number(path, root, f"size/{side}", 0)) for side in ("width", "height"))
    by_labelimg = root.find("path") is not None and _word(root, "source/database") == "Unknown"
    objects = tuple(_object(path, one, i) for i, one in enumerate(root.findall("object"), start=1))
    size = (width, height) if width > 0 and height > 0 else None
    return _Annotation(size, by_labelimg, objects)


def _object(path: Path, one: ElementTree.Element, number: int) -> _Object:
    label = _word(one, "name")
    where = f"'{path}', object {number}"
    if not label:
        raise DataError(f"{where} has no <name>")
    box = one.find("bndbox")
    if box is None:
        raise DataError(f"{where}, '{label}', has no <bndbox>")
    corners = []
    for key in _CORNERS:
        value = _number(where, box, key, math.nan)
        if not math.isfinite(value):
            raise DataError(f"{where}, '{label}', has no <{key}> that is a number")
        corners.append(value)
    x0, y0, x1, y1 = corners
    return _Object(label, (x0, y0, x1, y1), _flag(where, one, "difficult"), _flag(where, one, "crowd"))


def _box(one: _Object, counting: Counting) -> NamedBox:
    x0, y0, x1, y1 = one.corners
    if counting == "from 1":
        x0, y0 = x0 - 1, y0 - 1
    elif counting == "labelImg":
        x0, y0 = (0.0 if low == 1 else low for low in (x0, y0))
    return NamedBox(one.label, x0, y0, x1, y1, one.difficult, one.crowd)


def _counts_from_zero(annotations: Iterable[_Annotation]) -> bool:
    """Whether more boxes begin at 0 than at 1, in files that labelImg did not write."""
    lows = [low for found in annotations if not found.by_labelimg for one in found.objects for low in one.corners[:2]]
    return lows.count(0) > lows.count(1)


def _counted(annotations: Iterable[_Annotation], from_zero: bool) -> Iterator[str]:
    if any(found.by_labelimg for found in annotations):
        yield "files by labelImg: corners are edges, in px, and 1 stands for 0"
    if from_zero:
        yield "more boxes begin at 0 than at 1: corners are edges, in px from 0, not pixels from 1 as in VOC"


def _labels(folder: Path, annotations: Iterable[_Annotation]) -> tuple[str, ...]:
    path = folder / LABELS_FILE
    if not path.is_file():
        return in_order(one.label for found in annotations for one in found.objects)
    labels = tuple(line.strip() for line in text_of(path).splitlines() if line.strip())
    twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if twice is not None:
        raise DataError(f"'{path}' lists '{twice}' twice")
    return labels


def _number(where: str | Path, element: ElementTree.Element, key: str, default: float) -> float:
    text = _word(element, key)
    return finite(text, f"{where}: <{key}>") if text else default


def _flag(where: str, element: ElementTree.Element, key: str) -> bool:
    return _number(where, element, key, 0) != 0


def _word(element: ElementTree.Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()

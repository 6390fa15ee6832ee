"""Reads Pascal VOC: one XML file of boxes per image, beside it or in another folder, with or without ImageSets/Main/.

Programs that write such files count corners differently:

- VOC itself counts pixels from 1 and includes the last one: `x0 = xmin - 1, x1 = xmax`.
- labelImg (its files name a `path` and the database "Unknown") writes edges, and 1 where the edge is 0:
  `x0 = xmin`, or 0 for 1, and `x1 = xmax`. A box with equal corners then has no area.
- Other programs count from 0. If more boxes begin at 0 than at 1, the numbers are edges: `x0 = xmin, x1 = xmax`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from mobilenets.data.boxes import NamedBox
from mobilenets.data.documents import read_xml, xml_kind
from mobilenets.data.entries import Entry, Listing, all_or_none, in_order, split_in
from mobilenets.data.faults import Fault
from mobilenets.data.locate import Locator
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.pairing import pair
from mobilenets.data.readers.shares import NOTE, are_shares, in_px
from mobilenets.data.readers.voc_sets import read_sets
from mobilenets.data.samples import Split
from mobilenets.data.source import Source
from mobilenets.data.text import class_name, counted, finite, read_text
from mobilenets.data.walk import Tree, below, stem_of
from mobilenets.errors import DataError

LABELS_FILE = "labels.txt"
"""A file with the class names in order, one per line. Without it, the names in the annotations are sorted."""

Counting = Literal["from 1", "labelImg", "edges"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_GLANCED = 20  # number of files examined to decide whether a folder's XML files are VOC's
_LAYOUT = "expected one XML file per image, beside it or in Annotations/, and optionally ImageSets/Main/*.txt"


@dataclass(frozen=True, slots=True)
class _Object:
    label: str
    corners: tuple[float, float, float, float]
    difficult: bool
    crowd: bool


@dataclass(frozen=True, slots=True)
class _Annotation:
    image: str
    size: tuple[int, int] | None
    by_labelimg: bool
    objects: tuple[_Object, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """An image and its annotation, either of which may be missing, as paths relative to the dataset's folder."""

    image: str | None
    annotation: str | None
    split: Split | None


def is_voc(source: Source) -> bool:
    """Whether the source is a folder with Pascal VOC's XML files, at any depth."""
    if source.tree is None:
        return False
    tree = source.tree
    return any(xml_kind(tree.root / path) == "annotation" for path in tree.with_suffix(".xml")[:_GLANCED])


def read_voc(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images in a folder with their boxes.

    Splits are those of ImageSets/Main/{train,val,trainval,test}.txt, or of folders called train/, valid/ and test/.
    Images that no split file lists and images without an annotation file are left out.

    Raises:
        DataError: a file cannot be read or is not such an annotation; the message names the file and the place in it.
    """
    tree = _tree(source)
    notes: list[str] = []
    items, faults = _items(tree, notes)
    annotations = {item.annotation: _read(tree.root / item.annotation) for item in items if item.annotation is not None}
    items = _by_file_name(tree, items, annotations)
    labels, more = _labels(tree, annotations.values())
    faults += more
    shares = are_shares([box.corners for annotation in annotations.values() for box in annotation.objects])
    from_zero = not shares and _counts_from_zero(annotations.values())
    entries = []
    for item in items:
        if item.annotation is None:
            assert item.image is not None
            faults.append(Fault("unannotated", "has no annotation file and is left out", item.image))
            continue
        annotation = annotations[item.annotation]
        if item.image is None:
            faults.append(Fault("stray", "has no image and is left out", item.annotation))
            continue
        as_they_are = shares or (from_zero and not annotation.by_labelimg)
        counting: Counting = "edges" if as_they_are else "labelImg" if annotation.by_labelimg else "from 1"
        unknown = [box.label for box in annotation.objects if box.label not in labels]
        for label in unknown:
            message = f"has a box of '{label}', which {LABELS_FILE} does not list; it is left out"
            faults.append(Fault("unknown-class", message, item.annotation))
        boxes = tuple(_box(box, counting) for box in annotation.objects if box.label in labels)
        entries.append(Entry(tree.root / item.image, "", item.image, item.split, boxes=boxes, stated=annotation.size))
    if not entries:
        raise DataError(
            f"'{tree.root}' has {counted(len(annotations), 'annotation file')}, but none of their images", hint=_LAYOUT
        )
    if shares:
        entries, notes = list(in_px(tree.root, entries)), [*notes, NOTE]
    else:
        notes += _counted(annotations.values(), from_zero)
    name = tree.root.resolve().name
    return Listing(tuple(entries), labels, name, tuple(notes), task="detect", faults=(*tree.faults, *faults))


def _tree(source: Source) -> Tree:
    if source.tree is None:
        raise DataError(f"'{source.text}' is not a folder", hint=_LAYOUT)
    return source.tree


def _items(tree: Tree, notes: list[str]) -> tuple[list[_Item], list[Fault]]:
    """The images and annotations of the folder, in the splits of its split files or folders."""
    files = tree.with_suffix(".xml")
    voc = {path.rpartition("/")[0] for path in files if xml_kind(tree.root / path) == "annotation"}
    files = [path for path in files if path.rpartition("/")[0] in voc] or files
    images = [image for image in tree.images() if "segmentation" not in image.rpartition("/")[0].lower()]
    pairs = pair(files, images)
    faults = list(pairs.faults)
    whole = [_Item(image, annotation, None) for annotation, image in pairs.image_of.items()]
    whole += [_Item(None, annotation, None) for annotation in pairs.strays]
    whole += [_Item(image, None, None) for image in pairs.bare]
    beside = {annotation.rpartition("/")[0]: image.rpartition("/")[0] for annotation, image in pairs.image_of.items()}
    items: list[_Item] = []
    roots = _roots(tree)
    for root, sets in roots.items():
        inside = [item for item in whole if _root_of(item, roots) == root]
        whole = [item for item in whole if _root_of(item, roots) != root]
        listed, wrong = _in_sets(tree, sets, root, inside, notes)
        items += listed
        faults += wrong
    whole.sort(key=lambda item: _order(item, beside))
    used = [item for item in whole if item.image is not None and item.annotation is not None]
    splits = all_or_none([split_in(item.image or "") for item in used] + [item.split for item in items])
    known = dict(zip([item.image for item in used], splits, strict=False))
    items += [replace(item, split=known.get(item.image)) for item in whole]
    if not all(item.split for item in items if item.image and item.annotation):
        items = [replace(item, split=None) for item in items]
    return items, faults


def _roots(tree: Tree) -> dict[str, str]:
    """The folders that contain ImageSets/Main/, inner ones first, each with the path of its Main/."""
    roots = {}
    for folder in tree.folders:
        sets = tree.child(folder, "ImageSets")
        main = tree.child(sets, "Main") if sets is not None else None
        if (
            main is not None
            and main in tree.folders
            and any(name.lower().endswith(".txt") for name in tree.folders[main].files)
        ):
            roots[folder] = main
    return dict(sorted(roots.items(), key=lambda item: (-item[0].count("/") - bool(item[0]), item[0])))


def _root_of(item: _Item, roots: Mapping[str, str]) -> str | None:
    path = item.annotation or item.image or ""
    return next((root for root in roots if not root or path.startswith(f"{root}/")), None)


def _order(item: _Item, beside: Mapping[str, str]) -> tuple[str, str]:
    folder = item.annotation.rpartition("/")[0] if item.annotation is not None else ""
    images = item.image.rpartition("/")[0] if item.image is not None else beside.get(folder, folder)
    return images, stem_of(item.image or item.annotation or "")


def _in_sets(tree: Tree, sets: str, root: str, items: list[_Item], notes: list[str]) -> tuple[list[_Item], list[Fault]]:
    """The images that the split files list, with their splits, and the images and annotations that they do not list."""
    by_stem = {
        stem_of(item.image or item.annotation or ""): item for item in sorted(items, key=lambda item: item.image is None)[::-1]
    }
    splits, faults = read_sets(tree, sets, {stem_of(item.image) for item in items if item.image is not None})
    if not splits:
        return sorted(items, key=lambda item: stem_of(item.image or item.annotation or "")), faults
    usual = [item.image.rpartition("/")[0] for item in items if item.image is not None]
    folder = max(set(usual), key=usual.count) if usual else below(root, "JPEGImages")
    listed = []
    for stem, split in splits.items():
        item = by_stem.get(stem, _Item(None, None, None))
        image = item.image or below(folder, f"{stem}.jpg")  # reported as missing when it is decoded
        listed.append(_Item(image, item.annotation, split))
    rest = [by_stem[stem] for stem in sorted(by_stem) if stem not in splits]
    whole = [item for item in rest if item.image is not None and item.annotation is not None]
    if whole:
        are = "image is" if len(whole) == 1 else "images are"
        notes.append(f"{len(whole):,} {are} in no split of {sets} and left out, such as '{stem_of(whole[0].image or '')}'")
    listed += [item for item in rest if item.image is None]
    listed += [item for item in rest if item.annotation is None]
    return listed, faults


def _by_file_name(tree: Tree, items: list[_Item], annotations: Mapping[str, _Annotation]) -> list[_Item]:
    """The items, in which an annotation without an image of its name gets the image that its <filename> names."""
    if all(item.image is not None for item in items):
        return items
    used = {item.image for item in items if item.annotation is not None}
    locator = Locator(tree)
    completed, named = [], set()
    for item in items:
        annotation = annotations.get(item.annotation or "")
        if item.image is None and annotation is not None and annotation.image and item.annotation is not None:
            image = locator.name(locator.find(annotation.image, f"'{tree.root / item.annotation}'"))
            if image in tree and image not in used:
                used.add(image)
                named.add(image)
                item = replace(item, image=image, split=split_in(image) if item.split else None)
        completed.append(item)
    return [item for item in completed if item.annotation is not None or item.image not in named]


def _read(path: Path) -> _Annotation:
    root = read_xml(path)
    if root.tag not in ("annotation", "annotations"):
        raise DataError(f"'{path}' begins with <{root.tag}>, not with <annotation>", hint=_LAYOUT)
    width, height = (int(_number(f"'{path}'", root, f"size/{side}", 0)) for side in ("width", "height"))
    by_labelimg = root.find("path") is not None and _word(root, "source/database") == "Unknown"
    objects = tuple(_object(path, element, i) for i, element in enumerate(root.findall("object"), start=1))
    size = (width, height) if width > 0 and height > 0 else None
    return _Annotation(_word(root, "filename"), size, by_labelimg, objects)


def _object(path: Path, element: ElementTree.Element, i: int) -> _Object:
    where = f"'{path}', object {i}"
    if not _word(element, "name"):
        raise DataError(f"{where} has no <name>")
    label = class_name(_word(element, "name"), where)
    box = element.find("bndbox")
    if box is None or len(element.findall("bndbox")) > 1:
        others = [child.tag for child in element if len(child) and child.tag not in ("part", "bndbox")]
        found = f"{len(element.findall('bndbox'))} times <bndbox>" if box is not None else "no <bndbox>"
        beside = f", but <{others[0]}>" if box is None and others else ""
        hint = "write an <object> with one <bndbox> for each thing: xmin, ymin, xmax and ymax in px"
        raise DataError(f"{where}, '{label}', has {found}{beside}", hint=hint)
    corners = []
    for key in _CORNERS:
        value = _number(where, box, key, math.nan)
        if not math.isfinite(value):
            raise DataError(f"{where}, '{label}', has no <{key}> that is a number")
        corners.append(value)
    x0, y0, x1, y1 = corners
    return _Object(label, (x0, y0, x1, y1), _flag(where, element, "difficult"), _flag(where, element, "crowd"))


def _box(annotated: _Object, counting: Counting) -> NamedBox:
    x0, y0, x1, y1 = annotated.corners
    if counting == "from 1":
        x0, y0 = x0 - 1, y0 - 1
    elif counting == "labelImg":
        x0, y0 = (0.0 if low == 1 else low for low in (x0, y0))
    return NamedBox(annotated.label, x0, y0, x1, y1, annotated.difficult, annotated.crowd)


def _counts_from_zero(annotations: Iterable[_Annotation]) -> bool:
    """Whether more boxes begin at 0 than at 1, in files that labelImg did not write."""
    others = (annotation for annotation in annotations if not annotation.by_labelimg)
    lows = [low for annotation in others for box in annotation.objects for low in box.corners[:2]]
    return lows.count(0) > lows.count(1)


def _counted(annotations: Iterable[_Annotation], from_zero: bool) -> Iterator[str]:
    if any(annotation.by_labelimg for annotation in annotations):
        yield "files by labelImg: corners are edges, in px, and 1 stands for 0"
    if from_zero:
        yield "more boxes begin at 0 than at 1: corners are edges, in px from 0, not pixels from 1 as in VOC"


def _labels(tree: Tree, annotations: Iterable[_Annotation]) -> tuple[tuple[str, ...], list[Fault]]:
    path = tree.child("", LABELS_FILE)
    if path is None:
        return in_order(box.label for annotation in annotations for box in annotation.objects), []
    text = read_text(tree.root / path)
    where = f"'{tree.root / path}'"
    lines = enumerate(text.lines, start=1)
    labels = tuple(class_name(line, f"{where} line {i}") for i, line in lines if line.strip())
    twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if twice is not None:
        raise DataError(f"{where} lists '{twice}' twice")
    return labels, text.faults(path)


def _number(where: str, element: ElementTree.Element, key: str, default: float) -> float:
    text = _word(element, key)
    return finite(text, f"{where}: <{key}>") if text else default


def _flag(where: str, element: ElementTree.Element, key: str) -> bool:
    text = _word(element, key).lower()
    return (
        text in ("true", "yes")
        if text in ("true", "yes", "false", "no", "unspecified")
        else _number(where, element, key, 0) != 0
    )


def _word(element: ElementTree.Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


FORMAT = Format("a folder with Pascal VOC's XML files, beside the images or in Annotations/", is_voc, read_voc, "detect")

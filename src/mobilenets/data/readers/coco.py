"""COCO: a JSON file of images, categories and annotations per split; a box is `[x, y, width, height]`, in px from 0, edges."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mobilenets.data import regions
from mobilenets.data.boxes import NamedBox
from mobilenets.data.documents import read_json
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, all_or_none
from mobilenets.data.faults import Fault
from mobilenets.data.limits import PIXELS
from mobilenets.data.locate import Locator
from mobilenets.data.readers.coco_files import LAYOUT, coco_files, coco_split, is_coco, one_per_split
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.source import Source, around
from mobilenets.data.text import class_name, counted, number, shown, some
from mobilenets.data.walk import Tree, below
from mobilenets.errors import DataError, ImageError
from mobilenets.specs.model import Task

_TRIED = 20  # images that tell in which folder they lie

Record = Mapping[str, object]


def read_coco(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a COCO file, or of a folder's files, with their boxes; masks are used where a box is missing.

    The split is the word in a file's name (instances_train2017.json), or the name of its folder. Images are looked for
    in the folder named like the split (train2017/), in images/, beside the file, and by name in the whole folder. "iscrowd"
    is kept; so is "difficult" or "ignore", which COCO itself does not have.

    Raises:
        DataError: a file is not such JSON, or contradicts itself; says which, and the key.
    """
    labels: list[str] = []
    entries: list[Entry] = []
    notes: list[str] = []
    files = opened(source)
    faults: list[Fault] = list(files[0].tree.faults)
    for file in files:
        labels += [name for name in file.labels.values() if name not in labels]
        entries += file.entries()
        faults += file.faults
        notes += file.notes
    if not entries:
        raise DataError(f"{some(str(file.path) for file in files)} list no image", hint=LAYOUT)
    return listing(source, entries, labels, notes, faults)


def opened(source: Source) -> list[CocoFile]:
    """The COCO files of a source, each taken apart.

    Raises:
        DataError: there are none, or several of one split.
    """
    if source.tree is None:
        return [CocoFile(*around(source.path))]
    files = one_per_split(coco_files(source.tree), source.text)
    if not files:
        raise DataError(f"'{source.text}' holds no COCO file", hint=LAYOUT)
    return [CocoFile(source.tree, path) for path in files]


def listing(source: Source, entries: Sequence[Entry], labels: Sequence[str], notes: list[str], faults: list[Fault]) -> Listing:
    """The listing of all files together: every image once, in a split only if all are."""
    whole = list(once(entries, faults).values())
    whole = [
        replace(entry, split=split) for entry, split in zip(whole, all_or_none(entry.split for entry in whole), strict=True)
    ]
    task: Task = "segment" if any(entry.mask is not None for entry in whole) else "detect"
    name = source.path.resolve().name if source.tree is not None else source.path.stem
    return Listing(tuple(whole), tuple(labels), name, tuple(dict.fromkeys(notes)), task=task, faults=tuple(faults))


def once(entries: Sequence[Entry], faults: list[Fault]) -> dict[str, Entry]:
    """The entries by name; an image that is in two splits stays in the one that measures."""
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.get(entry.name)
        if first is not None and first.split == entry.split:
            raise DataError(f"'{entry.name}' is listed twice", hint="an image has one entry in 'images'")
        if first is not None:
            message = f"is in {first.split} and in {entry.split}; it stays in {entry.split} only"
            faults.append(Fault("split-twice", message, entry.name))
            del found[entry.name]
        found[entry.name] = entry
    return found


class CocoFile:
    """One file, taken apart.

    Args:
        tree: the dataset's folder, which names are relative to.
        path: of the file inside it.
    """

    def __init__(self, tree: Tree, path: str) -> None:
        self.tree = tree
        self.path = tree.root / path
        self.shown = path
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        data = read_json(self.path)
        if not isinstance(data, dict) or "images" not in data:
            raise DataError(f"'{self.path}' is not a COCO file: it has no list 'images'", hint=LAYOUT)
        self.images = self._records(data, "images")
        self.annotations = self._records(data, "annotations")
        self.labels = self._categories(self._records(data, "categories"))
        if self.annotations and not self.labels:
            raise DataError(
                f"'{self.path}' has {counted(len(self.annotations), 'annotation')}, but its list 'categories' is empty"
            )

    def entries(self) -> list[Entry]:
        """Its images in their order."""
        sizes: dict[object, tuple[int, int] | None] = {}
        names: dict[object, str] = {}
        for i, image in enumerate(self.images):
            key, name = id_of(image.get("id")), image.get("file_name")
            if key is None or not isinstance(name, str) or not name:
                raise DataError(f"'{self.path}': images[{i}] has no id and file_name")
            if key in names:
                both = f"{shown(names[key])} and {shown(name)}"
                raise DataError(f"'{self.path}': the image id {shown(image.get('id'))} stands twice, for {both}")
            width, height = (self._number(f"images[{i}]", image, side, 0) for side in ("width", "height"))
            names[key] = name
            sizes[key] = (int(width), int(height)) if width >= 1 and height >= 1 else None
        locator = Locator(self.tree, self._folders(list(names.values())))
        paths = {key: locator.find(name, f"'{self.path}'") for key, name in names.items()}
        shown_names = {key: locator.name(path) for key, path in paths.items()}
        boxes = self._boxes(shown_names)
        split = coco_split(self.shown)
        return [
            Entry(path, "", shown_names[key], split, boxes=tuple(boxes[key]), stated=sizes[key]) for key, path in paths.items()
        ]

    def _records(self, data: Record, key: str) -> list[Record]:
        found = data.get(key)
        if not isinstance(found, list):
            hint = "a COCO file has the lists images, annotations and categories"
            raise DataError(f"'{self.path}' has no list '{key}'", hint=hint)
        for i, record in enumerate(found):
            if not isinstance(record, dict):
                raise DataError(f"'{self.path}': {key}[{i}] is not an object")
        return found

    def _categories(self, records: Sequence[Record]) -> dict[object, str]:
        """Names by id, in the order of the ids."""
        found: dict[object, str] = {}
        names: set[str] = set()
        above: set[object] = set()
        for i, category in enumerate(records):
            where = f"'{self.path}': categories[{i}]"
            key, text = id_of(category.get("id")), category.get("name")
            if key is None or not isinstance(text, str) or not text:
                raise DataError(f"{where} has no id and name")
            name = class_name(text, where)
            if key in found or name in names:
                raise DataError(f"{where} repeats the id {shown(category.get('id'))} or the name '{name}'")
            found[key] = name
            names.add(name)
            above.add(str(category.get("supercategory")))
        used = {id_of(annotation.get("category_id")) for annotation in self.annotations}
        groups = {unused: name for unused, name in found.items() if unused not in used and name in above}
        if len(groups) < len(found):
            for unused, name in groups.items():
                self.notes.append(f"the category '{name}' only groups others and has no box; it is left out")
                del found[unused]
        return dict(sorted(found.items(), key=lambda item: (isinstance(item[0], str), item[0])))

    def _boxes(self, names: Mapping[object, str]) -> dict[object, list[NamedBox]]:
        boxes: dict[object, list[NamedBox]] = defaultdict(list)
        boxed = 0
        for i, annotation in enumerate(self.annotations):
            where = f"annotations[{i}]"
            image, category = id_of(annotation.get("image_id")), id_of(annotation.get("category_id"))
            if image not in names:
                message = f"{where} is on image {shown(annotation.get('image_id'))}, which is not listed; it is left out"
                self.faults.append(Fault("stray", message, self.shown))
                continue
            label = self.labels.get(category)
            if label is None:
                listed = f"category {shown(annotation.get('category_id'))}, which {self.shown} does not list ({where})"
                self.faults.append(Fault("unknown-class", f"has a box of {listed}; it is left out", names[image]))
                continue
            around = _around(annotation) if annotation.get("bbox") in (None, []) else None
            if around is not None:
                boxed += 1
            x, y, width, height = around or self._bbox(where, annotation.get("bbox"))
            flags = [self._number(where, annotation, key, 0) != 0 for key in ("iscrowd", "difficult", "ignore")]
            crowd, difficult = flags[0], flags[1] or flags[2]
            boxes[image].append(NamedBox(label, x, y, x + width, y + height, difficult, crowd))
        if boxed:
            have = "annotation has" if boxed == 1 else "annotations have"
            self.notes.append(f"{self.shown}: {boxed:,} {have} no bbox; the box around the segmentation is taken")
        return boxes

    def _bbox(self, where: str, found: object) -> tuple[float, float, float, float]:
        numbers = [number(value) for value in found] if isinstance(found, list) and len(found) == 4 else []
        if len(numbers) != 4 or any(math.isnan(value) for value in numbers):
            raise DataError(f"'{self.path}': {where} has the bbox {shown(found)}, not [x, y, width, height]")
        x, y, width, height = numbers
        return x, y, width, height

    def _number(self, where: str, record: Record, key: str, default: float) -> float:
        value = record.get(key)
        if value is None:
            return default
        found = float(value) if isinstance(value, bool) else number(value)
        if math.isnan(found):
            raise DataError(f"'{self.path}': {where} has {key} {shown(value)}, not a number")
        return found

    def _folders(self, names: Sequence[str]) -> list[str]:
        """Folders in which images may lie, the one that has most of the first ones before the others."""
        beside, _, name = self.shown.rpartition("/")
        above = beside.rpartition("/")[0]
        word = name.rpartition(".")[0].removeprefix("instances_")
        inner = [word, "images", f"images/{word}"]
        split = coco_split(self.shown)
        inner += [spelling for spelling, meant in SPLIT_WORDS.items() if meant == split]
        inner += [f"images/{spelling}" for spelling, meant in SPLIT_WORDS.items() if meant == split]
        places = [beside, *(below(folder, one) for one in inner for folder in (beside, above)), above, ""]
        known = [
            place
            for place in dict.fromkeys(self.tree.resolved(place) if place else "" for place in places)
            if place is not None
        ]
        known = [place for place in known if place in self.tree.folders]
        step = max(1, len(names) // _TRIED)
        sample = [written.replace("\\", "/") for written in names[::step]]
        return sorted(
            known, key=lambda folder: -sum(self.tree.resolved(below(folder, written)) is not None for written in sample)
        )


def _around(annotation: Record) -> tuple[float, float, float, float] | None:
    """The box around an annotation's polygons or run lengths; None where it has none."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _around_runs(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    numbers = [number(value) for polygon in polygons if isinstance(polygon, list) for value in polygon]
    if len(numbers) < 4 or len(numbers) % 2 or any(math.isnan(value) for value in numbers):
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _around_runs(segmentation: Record) -> tuple[float, float, float, float] | None:
    """The box around run lengths of a stated size; None where they do not fit it."""
    counts, size = segmentation.get("counts"), segmentation.get("size")
    sides = [int(number(side)) for side in size if number(side) >= 1] if isinstance(size, list) else []
    if len(sides) != 2 or sides[0] * sides[1] > PIXELS or not isinstance(counts, str | list):
        return None
    try:
        inside = regions.inside(regions.from_runs(0, counts), sides[1], sides[0])  # H W
    except (ImageError, OverflowError, ValueError, TypeError):
        return None
    if not inside.any():
        return None
    xs, ys = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    return float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1)


def id_of(found: object) -> int | str | None:
    """An id: 7, 7.0 and "7" are the same one, as pandas and some programs write it; None for what is none."""
    if isinstance(found, bool):
        return None
    if isinstance(found, float):
        return int(found) if math.isfinite(found) and found == int(found) else None
    if isinstance(found, str):
        text = found.strip()
        bare = text.removesuffix(".0")
        return int(bare) if bare.isascii() and bare.isdecimal() and len(bare) <= 18 and str(int(bare)) == bare else text or None
    return found if isinstance(found, int) else None


FORMAT = Format("a COCO file, or a folder with one per split", is_coco, read_coco, "detect")

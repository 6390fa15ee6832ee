"""Reads COCO: one JSON file of images, categories and annotations per split. A box is `[x, y, width, height]` in px from 0."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mobilenets.data.boxes import NamedBox
from mobilenets.data.documents import read_json
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing, all_or_none
from mobilenets.data.faults import Fault
from mobilenets.data.locate import Locator
from mobilenets.data.readers.coco_boxes import Record, around, box_of, corners_in_place_of_sizes
from mobilenets.data.readers.coco_files import LAYOUT, coco_files, coco_split, is_coco, one_per_split
from mobilenets.data.readers.format import NOTHING, Asked, Format
from mobilenets.data.readers.shares import NOTE, are_shares, in_px
from mobilenets.data.source import Source
from mobilenets.data.source import around as around_file
from mobilenets.data.text import class_name, counted, number, shown, some
from mobilenets.data.walk import Tree, below
from mobilenets.errors import DataError
from mobilenets.specs.model import Task

_TRIED = 20  # number of images that are searched to find their folder


def read_coco(source: Source, asked: Asked = NOTHING) -> Listing:
    """The images of a COCO file, or of all COCO files in a folder, with their boxes. A missing box is taken from the mask.

    The split is the word in a file's name (instances_train2017.json), or the name of its folder. Images are looked for
    in the folder named like the split (train2017/), in images/, beside the file, and by name in the whole folder. "iscrowd"
    is kept, and so are "difficult" and "ignore", which COCO itself does not have.

    Raises:
        DataError: a file is not such JSON, or contradicts itself; the message names the file and the key.
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
    """The COCO files of a source, each parsed.

    Raises:
        DataError: there are none, or several of one split.
    """
    if source.tree is None:
        return [CocoFile(*around_file(source.path))]
    files = one_per_split(coco_files(source.tree), source.text)
    if not files:
        raise DataError(f"'{source.text}' contains no COCO file", hint=LAYOUT)
    return [CocoFile(source.tree, path) for path in files]


def listing(source: Source, entries: Sequence[Entry], labels: Sequence[str], notes: list[str], faults: list[Fault]) -> Listing:
    """The listing of all files together. Every image is in it once; images have splits only if all of them do."""
    unique = list(once(entries, faults).values())
    splits = all_or_none(entry.split for entry in unique)
    unique = [replace(entry, split=split) for entry, split in zip(unique, splits, strict=True)]
    task: Task = "segment" if any(entry.mask is not None for entry in unique) else "detect"
    name = source.path.resolve().name if source.tree is not None else source.path.stem
    return Listing(tuple(unique), tuple(labels), name, tuple(dict.fromkeys(notes)), task=task, faults=tuple(faults))


def once(entries: Sequence[Entry], faults: list[Fault]) -> dict[str, Entry]:
    """The entries by name. An image that is in train and in another split is kept only in the other one."""
    by_name: dict[str, Entry] = {}
    for entry in entries:
        first = by_name.get(entry.name)
        if first is not None and first.split == entry.split:
            raise DataError(f"'{entry.name}' is listed twice", hint="an image has one entry in 'images'")
        if first is not None:
            message = f"is in {first.split} and in {entry.split}; it stays in {entry.split} only"
            faults.append(Fault("split-twice", message, entry.name))
            del by_name[entry.name]
        by_name[entry.name] = entry
    return by_name


class CocoFile:
    """One COCO file, parsed.

    Args:
        tree: the dataset's folder, which names are relative to.
        path: the file's path inside it.
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
        self.images = self._unrepeated(self._records(data, "images"))
        self.annotations = self._records(data, "annotations")
        if any("segments_info" in annotation for annotation in self.annotations[:1]):
            hint = "use the file of instances, or convert it with panopticapi"
            raise DataError(f"'{self.path}' has COCO's panoptic segments, which are not read", hint=hint)
        self.labels = self._categories(self._records(data, "categories"))
        if self.annotations and not self.labels:
            raise DataError(
                f"'{self.path}' has {counted(len(self.annotations), 'annotation')}, but its list 'categories' is empty"
            )

    def entries(self) -> list[Entry]:
        """The file's images, in its order."""
        sizes: dict[object, tuple[int, int] | None] = {}
        names: dict[object, str] = {}
        for i, image in enumerate(self.images):
            key, name = id_of(image.get("id")), image.get("file_name")
            if key is None or not isinstance(name, str) or not name:
                raise DataError(f"'{self.path}': images[{i}] has no id and file_name")
            if key in names:
                both = f"{shown(names[key])} and {shown(name)}"
                raise DataError(f"'{self.path}': the image id {shown(image.get('id'))} is used twice, for {both}")
            width, height = (self._number(f"images[{i}]", image, side, 0) for side in ("width", "height"))
            names[key] = name
            sizes[key] = (int(width), int(height)) if width >= 1 and height >= 1 else None
        locator = Locator(self.tree, self._folders(list(names.values())))
        paths = {key: locator.find(name, f"'{self.path}'") for key, name in names.items()}
        shown_names = {key: locator.name(path) for key, path in paths.items()}
        boxes = self._boxes(shown_names)
        split = coco_split(self.shown)
        entries = [
            Entry(path, "", shown_names[key], split, boxes=tuple(boxes[key]), stated=sizes[key]) for key, path in paths.items()
        ]
        if are_shares([(box.x0, box.y0, box.x1, box.y1) for of_image in boxes.values() for box in of_image]):
            self.notes.append(f"{self.shown}: {NOTE}")
            return list(in_px(self.path, entries))
        doubt = corners_in_place_of_sizes(entries)
        if doubt:
            self.faults.append(Fault("contradiction", doubt, self.shown))
        return entries

    def _records(self, data: Record, key: str) -> list[Record]:
        records = data.get(key)
        if not isinstance(records, list):
            hint = "a COCO file has the lists images, annotations and categories"
            raise DataError(f"'{self.path}' has no list '{key}'", hint=hint)
        for i, record in enumerate(records):
            if not isinstance(record, dict):
                raise DataError(f"'{self.path}': {key}[{i}] is not an object")
        return records

    def _unrepeated(self, records: list[Record]) -> list[Record]:
        """The images without those that repeat another one, as after merging files."""
        first: dict[tuple[object, object], int] = {}
        kept = []
        for i, image in enumerate(records):
            key = id_of(image.get("id")), str(image.get("file_name"))
            if key in first:
                message = f"images[{i}] repeats images[{first[key]}], {shown(image.get('file_name'))}; it is left out"
                self.faults.append(Fault("contradiction", message, self.shown))
            else:
                first[key] = i
                kept.append(image)
        return kept

    def _categories(self, records: Sequence[Record]) -> dict[object, str]:
        """Category names by id, in the order of the ids."""
        by_id: dict[object, str] = {}
        names: set[str] = set()
        above: set[object] = set()
        for i, category in enumerate(records):
            where = f"'{self.path}': categories[{i}]"
            key, text = id_of(category.get("id")), category.get("name")
            if key is None or not isinstance(text, str) or not text:
                raise DataError(f"{where} has no id and name")
            name = class_name(text, where)
            if key in by_id or name in names:
                raise DataError(f"{where} repeats the id {shown(category.get('id'))} or the name '{name}'")
            by_id[key] = name
            names.add(name)
            above.add(str(category.get("supercategory")))
        used = {id_of(annotation.get("category_id")) for annotation in self.annotations}
        groups = {unused: name for unused, name in by_id.items() if unused not in used and name in above}
        if len(groups) < len(by_id):
            for unused, name in groups.items():
                self.notes.append(f"the category '{name}' only groups others and has no box; it is left out")
                del by_id[unused]
        return dict(sorted(by_id.items(), key=lambda item: (isinstance(item[0], str), item[0])))

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
            outlined = around(annotation) if annotation.get("bbox") in (None, []) else None
            if outlined is not None:
                boxed += 1
            x, y, width, height = outlined or box_of(f"'{self.path}': {where}", annotation.get("bbox"))
            flags = [self._number(where, annotation, key, 0) != 0 for key in ("iscrowd", "difficult", "ignore")]
            crowd, difficult = flags[0], flags[1] or flags[2]
            boxes[image].append(NamedBox(label, x, y, x + width, y + height, difficult, crowd))
        if boxed:
            have = "annotation has" if boxed == 1 else "annotations have"
            self.notes.append(f"{self.shown}: {boxed:,} {have} no bbox; the box around the segmentation is used")
        return boxes

    def _number(self, where: str, record: Record, key: str, default: float) -> float:
        value = record.get(key)
        if value is None:
            return default
        as_float = float(value) if isinstance(value, bool) else number(value)
        if math.isnan(as_float):
            raise DataError(f"'{self.path}': {where} has {key} {shown(value)}, not a number")
        return as_float

    def _folders(self, names: Sequence[str]) -> list[str]:
        """The folders that images may be in; the one in which most of a sample of names exist comes first."""
        beside, _, name = self.shown.rpartition("/")
        above = beside.rpartition("/")[0]
        word = name.rpartition(".")[0].removeprefix("instances_")
        inner = [word, "images", f"images/{word}"]
        split = coco_split(self.shown)
        inner += [spelling for spelling, meant in SPLIT_WORDS.items() if meant == split]
        inner += [f"images/{spelling}" for spelling, meant in SPLIT_WORDS.items() if meant == split]
        candidates = [beside, *(below(parent, child) for child in inner for parent in (beside, above)), above, ""]
        resolved = dict.fromkeys(self.tree.resolved(folder) if folder else "" for folder in candidates)
        folders = [folder for folder in resolved if folder is not None and folder in self.tree.folders]
        step = max(1, len(names) // _TRIED)
        sample = [written.replace("\\", "/") for written in names[::step]]
        return sorted(
            folders, key=lambda folder: -sum(self.tree.resolved(below(folder, written)) is not None for written in sample)
        )


def id_of(value: object) -> int | str | None:
    """The id that a value stands for, or None. 7, 7.0 and "7" are one id, because pandas and some programs write it so."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, str):
        text = value.strip()
        bare = text.removesuffix(".0")
        return int(bare) if bare.isascii() and bare.isdecimal() and len(bare) <= 18 and str(int(bare)) == bare else text or None
    return value if isinstance(value, int) else None


FORMAT = Format("a COCO file, or a folder with one per split", is_coco, read_coco, "detect")

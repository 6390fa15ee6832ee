"""COCO: a JSON file of images, categories and annotations per split; a box is `[x, y, width, height]`, in px from 0, edges."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import SPLIT_WORDS, Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.samples import Split
from mobilenets.errors import DataError

_ROBOFLOW = "_annotations.coco.json"
_LAYOUT = "expected instances_train.json and instances_val.json in the folder or its annotations/, or one such file"
_TRIED = 20  # images that tell in which folder they lie

Record = Mapping[str, object]


def is_coco(source: str) -> bool:
    """Whether this is a JSON file, or a folder with instances_*.json, itself, in annotations/ or in its split folders."""
    path = Path(source)
    return path.suffix.lower() == ".json" and path.is_file() if not path.is_dir() else bool(coco_files(path))


def read_coco(source: Path) -> Listing:
    """The images of a COCO file, or of a folder's files, with their boxes; polygons and run lengths are not looked at.

    The split is the word in a file's name (instances_train2017.json), or the name of its folder. Images are looked for
    in the folder named like the split (train2017/), in images/ and beside the file. "iscrowd" is kept; so is "difficult"
    or "ignore", which COCO itself does not have.

    Raises:
        DataError: a file is no such JSON, or contradicts itself; says which, and the key.
    """
    root = source if source.is_dir() else source.parent
    files = coco_files(source) if source.is_dir() else [source]
    if not files:
        raise DataError(f"'{source}' holds no COCO file", hint=_LAYOUT)
    labels: list[str] = []
    entries: list[Entry] = []
    faults: list[Fault] = []
    notes: list[str] = []
    for file in files:
        one = CocoFile(file, root)
        labels += [name for name in one.labels.values() if name not in labels]
        entries += one.entries()
        faults += one.faults
        notes += one.notes
    if not entries:
        raise DataError(f"{' and '.join(str(file) for file in files)} list no image", hint=_LAYOUT)
    entries = list(once(entries, faults).values())
    name = source.resolve().name if source.is_dir() else source.stem
    if not all(entry.split for entry in entries):
        entries = [replace(entry, split=None) for entry in entries]
    return Listing(tuple(entries), tuple(labels), name, tuple(dict.fromkeys(notes)), task="detect", faults=tuple(faults))


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
        path: the file.
        root: folder of the dataset, which names are relative to.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        data = _json(path)
        self.images = [_record(path, "images", i, one) for i, one in enumerate(_list(path, data, "images"))]
        self.annotations = [_record(path, "annotations", i, one) for i, one in enumerate(_list(path, data, "annotations"))]
        self.labels = self._categories(_list(path, data, "categories"))

    def entries(self) -> list[Entry]:
        """Its images in their order."""
        sizes: dict[object, tuple[int, int] | None] = {}
        names: dict[object, str] = {}
        for i, image in enumerate(self.images):
            key, name = _key(image.get("id")), image.get("file_name")
            if key is None or not isinstance(name, str) or not name:
                raise DataError(f"'{self.path}': images[{i}] has no id and file_name")
            if key in names:
                raise DataError(f"'{self.path}': the image id {key} stands twice, for '{names[key]}' and '{name}'")
            width, height = (self._number(f"images[{i}]", image, side, 0) for side in ("width", "height"))
            names[key] = name.replace("\\", "/")
            sizes[key] = (int(width), int(height)) if width > 0 and height > 0 else None
        boxes = self._boxes(names)
        split = _split(self.path)
        folder = self._folder(list(names.values()))
        return [
            Entry(folder / name, "", self._name(folder / name), split, boxes=tuple(boxes[key]), stated=sizes[key])
            for key, name in names.items()
        ]

    def _categories(self, records: Sequence[object]) -> dict[object, str]:
        """Names by id, in the order of the ids."""
        found: dict[object, str] = {}
        above: set[object] = set()
        for i, one in enumerate(records):
            category = _record(self.path, "categories", i, one)
            key, name = _key(category.get("id")), category.get("name")
            if key is None or not isinstance(name, str) or not name:
                raise DataError(f"'{self.path}': categories[{i}] has no id and name")
            if key in found or name in found.values():
                raise DataError(f"'{self.path}': categories[{i}] repeats the id {key} or the name '{name}'")
            found[key] = name
            above.add(category.get("supercategory"))
        used = {_key(one.get("category_id")) for one in self.annotations}
        groups = {unused: name for unused, name in found.items() if unused not in used and name in above}
        if len(groups) < len(found):
            for unused, name in groups.items():
                self.notes.append(f"the category '{name}' only groups others and has no box; it is left out")
                del found[unused]
        return dict(sorted(found.items(), key=lambda item: (str(type(item[0])), item[0])))

    def _boxes(self, names: Mapping[object, str]) -> dict[object, list[NamedBox]]:
        boxes: dict[object, list[NamedBox]] = defaultdict(list)
        shown = self.path.relative_to(self.root).as_posix()
        for i, one in enumerate(self.annotations):
            where = f"annotations[{i}]"
            image, category = _key(one.get("image_id")), _key(one.get("category_id"))
            if image not in names:
                self.faults.append(Fault("stray", f"{where} is on image {image}, which is not listed; it is left out", shown))
                continue
            label = self.labels.get(category)
            if label is None:
                message = f"has a box of category {category}, which {shown} does not list ({where}); it is left out"
                self.faults.append(Fault("unknown-class", message, names[image]))
                continue
            x, y, width, height = self._bbox(where, one.get("bbox"))
            flags = [self._number(where, one, key, 0) != 0 for key in ("iscrowd", "difficult", "ignore")]
            crowd, difficult = flags[0], flags[1] or flags[2]
            boxes[image].append(NamedBox(label, x, y, x + width, y + height, difficult, crowd))
        return boxes

    def _bbox(self, where: str, found: object) -> tuple[float, float, float, float]:
        numbers = [_finite(value) for value in found] if isinstance(found, list) else []
        if len(numbers) != 4 or any(math.isnan(value) for value in numbers):
            raise DataError(f"'{self.path}': {where} has the bbox {found}, not [x, y, width, height]")
        x, y, width, height = numbers
        return x, y, width, height

    def _number(self, where: str, record: Record, key: str, default: float) -> float:
        value = record.get(key)
        if value is None:
            return default
        number = float(value) if isinstance(value, bool) else _finite(value)
        if math.isnan(number):
            raise DataError(f"'{self.path}': {where} has {key} {value!r}, not a number")
        return number

    def _folder(self, names: Sequence[str]) -> Path:
        """Where the images lie: the folder in which most of the first ones are."""
        beside, word = self.path.parent, self.path.stem.removeprefix("instances_")
        split = _split(self.path)
        places = [beside, beside / word, beside / "images", beside.parent / word, beside.parent / "images"]
        places += [folder / "images" / word for folder in (beside, beside.parent)] + [beside.parent]
        if split is not None:
            spelled = [spelling for spelling, meant in SPLIT_WORDS.items() if meant == split]
            places += [folder / spelling for folder in (beside, beside.parent) for spelling in spelled]
        step = max(1, len(names) // _TRIED)
        return max(places, key=lambda folder: sum((folder / name).is_file() for name in names[::step]))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()


def coco_files(folder: Path) -> list[Path]:
    """The files of a dataset, in the order train, val, test."""
    found = [path for inner in (folder, folder / "annotations") for path in sorted(inner.glob("instances_*.json"))]
    if not found:
        found = [path for path in sorted((folder / "annotations").glob("*.json")) if _split(path)]
    if not found:
        found = [path / _ROBOFLOW for path in sorted(folder.iterdir()) if (path / _ROBOFLOW).is_file()]
    if not found and (folder / _ROBOFLOW).is_file():
        found = [folder / _ROBOFLOW]
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(found, key=lambda path: (order.get(_split(path) or "", 3), path))


def _split(path: Path) -> Split | None:
    words = path.parent.name if path.name == _ROBOFLOW else path.stem.removeprefix("instances_")
    return SPLIT_WORDS.get(words.lower().rstrip("0123456789_-"))


def _json(path: Path) -> Record:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"'{path}' is no JSON: {error}") from error
    if not isinstance(data, dict) or "images" not in data:
        raise DataError(f"'{path}' is no COCO file: it has no list 'images'", hint=_LAYOUT)
    return data


def _list(path: Path, data: Record, key: str) -> list[object]:
    found = data.get(key)
    if not isinstance(found, list):
        raise DataError(f"'{path}' has no list '{key}'", hint="a COCO file has the lists images, annotations and categories")
    return found


def _record(path: Path, key: str, place: int, found: object) -> Record:
    if not isinstance(found, dict):
        raise DataError(f"'{path}': {key}[{place}] is no object")
    return found


def _key(found: object) -> int | str | None:
    """An id, which COCO has as a number and some programs as text."""
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def _finite(value: object) -> float:
    """The number, or nan for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return math.nan

"""YOLO: a text file per image, a line per box: `class center_x center_y width height`, shares of the image; and data.yaml.

The labels of `images/train/a.jpg` are in `labels/train/a.txt`: the last folder called images becomes labels; where no
folder is called so, they lie beside the image. An image without such a file shows no object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mobilenets.data.boxes import NamedBox
from mobilenets.data.entries import SPLIT_WORDS, SUFFIXES, Entry, Listing
from mobilenets.data.faults import Fault
from mobilenets.data.samples import SPLITS, Split
from mobilenets.data.words import text_of
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size

NAMES_FILES = ("classes.txt", "obj.names")
"""The classes in their order, one a line, for folders without data.yaml."""

_MOST = 2.0  # shares beyond this are px
_LAYOUT = "expected data.yaml with the keys names and train, or classes.txt beside images/ and labels/"


class _Source(NamedTuple):
    root: Path
    names: dict[int, str]
    images: list[tuple[Path, Split | None]]


def is_yolo(source: str) -> bool:
    """Whether this is a YAML file, or a folder with one that lies above images, or with classes.txt and labels/."""
    path = Path(source)
    if path.suffix.lower() in (".yaml", ".yml"):
        return path.is_file()
    return path.is_dir() and (_yaml(path) is not None or (_names_file(path) is not None and (path / "labels").is_dir()))


def read_yolo(source: Path) -> Listing:
    """The images of a YOLO dataset with their boxes; of polygons the box around them.

    Raises:
        DataError: a file cannot be read or a line makes no sense; says which.
    """
    file = source if source.is_file() else _yaml(source)
    found = _from_yaml(file) if file is not None else _from_folders(source)
    if not found.images:
        raise DataError(f"'{source}' lists no image", hint=_LAYOUT)
    faults: list[Fault] = []
    entries: dict[Path, Entry] = {}
    for path, split in found.images:
        first = entries.get(path)
        if first is not None and first.split != split:
            message = f"is in {first.split} and in {split}; it stays in {split} only"
            faults.append(Fault("split-twice", message, first.name))
            del entries[path]
        entries[path] = _entry(found, path, split, faults)
    faults += _strays(found.root, entries)
    name = found.root.resolve().name
    return Listing(tuple(entries.values()), tuple(found.names.values()), name, task="detect", faults=tuple(faults))


def labels_path(image: Path) -> Path:
    """The text file of an image.

    >>> labels_path(Path("set/images/train/a.jpg")).as_posix()
    'set/labels/train/a.txt'
    """
    parts = list(image.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _entry(source: _Source, image: Path, split: Split | None, faults: list[Fault]) -> Entry:
    name = _below(image, source.root)
    path = labels_path(image)
    lines: list[tuple[int, float, float, float, float]] = []
    if path.is_file():
        lines = list(_lines(path))
    else:
        faults.append(Fault("unannotated", f"has no file {_below(path, source.root)} and counts as without objects", name))
    known = [line for line in lines if line[0] in source.names]
    for index in dict.fromkeys(line[0] for line in lines if line[0] not in source.names):
        message = f"has a box of class {index}, but there are names for 0 to {len(source.names) - 1}; it is left out"
        faults.append(Fault("unknown-class", message, _below(path, source.root)))
    if not known:
        return Entry(image, "", name, split)
    try:
        width, height = upright_size(image)
    except ImageError:
        return Entry(image, "", name, split)  # named as broken when it is looked at
    boxes = (NamedBox(source.names[index], x0 * width, y0 * height, x1 * width, y1 * height) for index, x0, y0, x1, y1 in known)
    return Entry(image, "", name, split, boxes=tuple(boxes))


def _lines(path: Path) -> Iterator[tuple[int, float, float, float, float]]:
    """Class, x0, y0, x1, y1 of each line, as shares."""
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"'{path}' line {number}"
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{where} is '{line.strip()}', not numbers alone") from error
        if len(values) < 5 or (len(values) > 6 and len(values) % 2 == 0):
            hint = "a line is: class center_x center_y width height"
            raise DataError(f"{where} has {len(values)} numbers, not five", hint=hint)
        if values[0] != int(values[0]) if math.isfinite(values[0]) else True:
            raise DataError(f"{where}: the class is '{words[0]}', not a whole number")
        shares = values[1:5] if len(values) <= 6 else values[1:]  # a sixth number is a score
        wrong = next((word for word, value in zip(words[1:], shares, strict=False) if not abs(value) <= _MOST), None)
        if wrong is not None:
            raise DataError(f"{where}: {wrong} is no share of the image", hint="divide px by the image's width or height")
        if len(shares) == 4:
            x, y, width, height = shares
            yield int(values[0]), x - width / 2, y - height / 2, x + width / 2, y + height / 2
        else:
            xs, ys = shares[::2], shares[1::2]
            yield int(values[0]), min(xs), min(ys), max(xs), max(ys)


def _from_yaml(file: Path) -> _Source:
    data = _load(file)
    names = _names(file, data.get("names"))
    stated = data.get("path")
    roots = [file.parent]
    if isinstance(stated, str) and stated:
        roots.insert(0, file.parent / stated)
    images: list[tuple[Path, Split | None]] = []
    for key, value in data.items():
        if key not in SPLIT_WORDS or value is None:
            continue
        places = value if isinstance(value, list) else [value]
        for place in places:
            if not isinstance(place, str):
                raise DataError(f"'{file}': {key} is {place!r}, not a folder or a list of images")
            images += [(path, SPLIT_WORDS[key]) for path in _images(file, key, place, roots)]
    if not images and not any(key in SPLIT_WORDS for key in data):
        raise DataError(f"'{file}' has no key 'train'", hint=_LAYOUT)
    order = {split: i for i, split in enumerate(SPLITS)}
    images.sort(key=lambda item: order[item[1] or "train"])
    root = next((one for one in roots if all(path.is_relative_to(one) for path, _ in images)), file.parent)
    return _Source(root, names, images)


def _images(file: Path, key: str, place: str, roots: Sequence[Path]) -> list[Path]:
    """The images of one folder, or of one text file that lists them."""
    spelled = [place, place.removeprefix("../")]  # Roboflow writes ../train/images for a folder beside the file
    tried = [root / one for one in spelled for root in roots]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        if key not in ("train", "training"):
            return []
        raise DataError(f"'{file}': {key} is '{place}', which does not exist; looked for '{tried[0]}'")
    if found.is_dir():
        return sorted(path for path in found.rglob("*") if path.suffix.lower() in SUFFIXES)
    listed = [line.strip() for line in text_of(found).splitlines() if line.strip()]
    return [(found.parent if line.startswith("./") else roots[0]) / line for line in listed]


def _from_folders(folder: Path) -> _Source:
    file = _names_file(folder)
    if file is None:
        raise DataError(f"'{folder}' has neither data.yaml nor classes.txt", hint=_LAYOUT)
    lines = [line.strip() for line in text_of(file).splitlines()]
    names = _names(file, [line for line in lines if line])
    top = folder / "images" if (folder / "images").is_dir() else folder
    found = sorted(path for path in top.rglob("*") if path.suffix.lower() in SUFFIXES)
    splits = [SPLIT_WORDS.get(path.relative_to(top).parts[0].lower()) for path in found]
    known = bool(found) and all(splits)
    return _Source(folder, names, [(path, split if known else None) for path, split in zip(found, splits, strict=True)])


def _names(file: Path, found: object) -> dict[int, str]:
    """Names by index: from a list, or from a mapping of indices."""
    pairs = list(found.items()) if isinstance(found, dict) else list(enumerate(found)) if isinstance(found, list) else []
    if not pairs:
        raise DataError(f"'{file}' has no key 'names' with the classes", hint=_LAYOUT)
    names: dict[int, str] = {}
    for key, value in sorted(pairs, key=lambda pair: (not isinstance(pair[0], int), str(pair[0]).zfill(9))):
        if not str(key).isdecimal() or isinstance(value, dict | list) or value is None or not str(value).strip():
            raise DataError(f"'{file}': names has {key!r}: {value!r}, not an index and a name")
        if str(value).strip() in names.values():
            raise DataError(f"'{file}' names '{value}' twice")
        names[int(str(key))] = str(value).strip()
    return names


def _strays(root: Path, entries: Iterable[Path]) -> list[Fault]:
    """Label files, in the folders that have some, without an image."""
    expected = {labels_path(path) for path in entries}
    folders = sorted({path.parent for path in expected})
    known = {*NAMES_FILES, "train.txt", "val.txt", "test.txt"}
    strays = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.glob("*.txt"))
        if path not in expected and path.name not in known
    ]
    return [Fault("stray", "has no image and is left out", _below(path, root)) for path in strays]


def _yaml(folder: Path) -> Path | None:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (folder / name).is_file():
            return folder / name
    return None


def _names_file(folder: Path) -> Path | None:
    places = (folder / inner / name for name in NAMES_FILES for inner in (".", "labels"))
    return next((path for path in places if path.is_file()), None)


def _load(file: Path) -> Mapping[str, object]:
    import yaml  # type: ignore[import-untyped]  # it ships no types

    try:
        data = yaml.safe_load(text_of(file))
    except yaml.YAMLError as error:
        raise DataError(f"'{file}' is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise DataError(f"'{file}' has no keys", hint=_LAYOUT)
    return data


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()

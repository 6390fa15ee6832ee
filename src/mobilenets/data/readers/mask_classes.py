"""Which value or color of a mask is which class: from a file of names, from names given, or from the masks themselves.

The rules, in this order:

- The value 255 counts nowhere, unless a class has it or masks hold nothing but 0 and 255: then 255 is the class 1.
- Names come from the argument `classes`, else from the first file of `FILES` in the folder, else from the values that occur:
  "class 0", "class 7", ...
- Colors come with the names, else from a file of `FILES` in the folder that has them for these names, or for their values, else
  from the palette of the masks.
- A class counts nowhere where its name is one of `IGNORED`, or where the argument `ignore` has its name or value.
- A value that no class has and that is not ignored is an error, which `check` names and reading refuses: never a guess.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mobilenets.data import masks
from mobilenets.data.masks import IGNORE, Coding, Color, Mask
from mobilenets.errors import DataError, ImageError

FILES = (
    "palette.csv",
    "classes.csv",
    "class_dict.csv",
    "labels.csv",
    "classes.txt",
    "class_names.txt",
    "labels.txt",
    "labelmap.txt",
    "label_colors.txt",
)
"""Files that name the classes, beside the folders of images; the first one that exists is read."""

IGNORED = frozenset(
    ("void", "__ignore__", "unlabelled", "unlabeled", "ignore", "ignored", "ignore label", "ignore_label", "don't care")
)
"""Names of classes that count nowhere, lower case."""

MOST_VALUES = 64
"""Different values in masks without named classes above which they are taken for something else."""

_PEEKED = 30  # masks that are looked into where one answer serves all
_HINT = "one name a line, or the columns name,r,g,b"
_COLUMNS = {
    "name": ("name", "class", "label", "category", "class_name"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "value": ("value", "id", "index", "label_id"),
}


@dataclass(frozen=True, slots=True)
class Named:
    """A class as a file names it.

    Args:
        name: of the class.
        value: in masks.
        color: in masks or for display; None where none is given.
    """

    name: str
    value: int
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """What `Mask` needs to know, and what the dataset is told.

    Args:
        labels: names of the classes that count.
        colors: of the labels; () where there are none.
        coding: whether masks hold values or colors.
        table: class of each value, or of each color of `coded`; as `Mask.classes`.
        coded: the colors that masks hold, of ignored classes too; () where they hold values.
        notes: what was decided, for people.
    """

    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    coding: Coding
    table: tuple[int, ...]
    coded: tuple[Color, ...] = ()
    notes: tuple[str, ...] = ()

    def mask(self, path: Path) -> Mask:
        """The mask in a file."""
        return Mask(path, self.coding, self.table, self.coded)


def find_classes(
    folder: Path, files: Sequence[Path], *, classes: str | Path | Sequence[str] = "", ignore: Sequence[str] = ()
) -> Classes:
    """The classes of a folder's masks.

    Args:
        folder: in which a file of `FILES` may lie.
        files: the masks.
        classes: a file of names, or names in the order of their values, as a sequence or with commas between; "" looks.
        ignore: names, values or colors (`#rrggbb`) that count nowhere.

    Raises:
        DataError: a file of names makes no sense, something to ignore does not exist, or values are no classes.
    """
    named, source = _names(folder, classes)
    if not named:
        return _with_palette(_from_values(files, ignore), files)
    named = _with_colors(named, folder)
    notes = (f"classes from '{source}'",) if source else ()
    coding = _coding(named, files)
    if coding == "index" and _is_binary(named, files):
        named = (named[0], replace(named[1], value=IGNORE))
        notes = (*notes, f"masks hold 0 and 255: 255 is '{named[1].name}'")
    return _with_palette(replace(_from_names(named, coding, ignore), notes=notes), files)


def read_names(path: Path) -> tuple[Named, ...]:
    """The classes that a file names: lines of names, `name,r,g,b` with a header, CVAT's labelmap, or `r g b name`.

    Raises:
        DataError: the file cannot be read, or a line makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read: {error}", hint=_HINT) from error
    lines = [line.strip() for line in text.splitlines()]
    if path.suffix.lower() == ".csv":
        named = tuple(_table(path, text))
    else:
        kept = [line for line in lines if line and not line.startswith("#")]
        if kept[:1] == ["__ignore__"]:  # labelme's name of 255
            del kept[0]
        named = tuple(_line(path, i, line) for i, line in enumerate(kept))
    if not named:
        raise DataError(f"'{path}' names no class", hint=_HINT)
    for what in ("name", "value"):
        twice = _twice([getattr(one, what) for one in named])
        if twice is not None:
            raise DataError(f"'{path}' has the {what} '{twice}' twice")
    return named


def _names(folder: Path, classes: str | Path | Sequence[str]) -> tuple[tuple[Named, ...], str]:
    """The named classes and the file they come from."""
    if isinstance(classes, Path) or (isinstance(classes, str) and classes and Path(classes).is_file()):
        return read_names(Path(classes)), str(classes)
    if isinstance(classes, str) and classes:
        if "," not in classes:
            raise DataError(f"'{classes}' is no file of class names", hint="give a file, or names with commas between")
        classes = [name.strip() for name in classes.split(",")]
    if not isinstance(classes, str):
        twice = _twice(list(classes))
        if twice is not None:
            raise DataError(f"the class '{twice}' is named twice")
        return tuple(Named(name, i) for i, name in enumerate(classes)), ""
    path = next(iter(_files_of_names(folder)), None)
    return (read_names(path), path.name) if path is not None else ((), "")


def _files_of_names(folder: Path) -> list[Path]:
    below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    return [below[name] for name in FILES if name in below]


def _with_colors(named: tuple[Named, ...], folder: Path) -> tuple[Named, ...]:
    """Names without any color, with those that a file in the folder has for all of them, or else for all their values."""
    if any(one.color for one in named):
        return named
    for path in _files_of_names(folder):
        try:
            colored = [one for one in read_names(path) if one.color]
        except DataError:
            continue  # nobody asked for its names
        by_name, by_value = {one.name.lower(): one.color for one in colored}, {one.value: one.color for one in colored}
        for colors in ([by_name.get(one.name.lower()) for one in named], [by_value.get(one.value) for one in named]):
            if all(colors):
                return tuple(replace(one, color=color) for one, color in zip(named, colors, strict=True))
    return named


def _with_palette(found: Classes, files: Sequence[Path]) -> Classes:
    """Classes without colors, with those that a palette of the first masks has for their values."""
    if found.colors or found.coding == "color" or not found.labels:
        return found
    values = [found.table.index(label) for label in range(len(found.labels))]
    palettes = (masks.palette(path, values) for path in files[:_PEEKED])
    return replace(found, colors=next((colors for colors in palettes if colors), ()))


def _from_names(named: Sequence[Named], coding: Coding, ignore: Sequence[str]) -> Classes:
    values = {one.value for one in named}
    unknown = set()
    gone = {one.value for one in named if one.name.lower() in IGNORED}
    extra: list[int] = []
    shades: list[Color] = []
    for text in ignore:
        by_name = [one.value for one in named if one.name.lower() == text.lower()]
        color = _hex(text)
        if by_name:
            gone.update(by_name)
        elif color is not None and coding == "color":
            gone.update(one.value for one in named if one.color == color)
            shades.append(color)
        elif text.isdecimal() and int(text) < masks.STRAY and (coding == "index" or int(text) in values):
            gone.add(int(text))
            extra.append(int(text))
        else:
            unknown.add(text)
    if unknown:
        raise DataError(f"'{min(unknown)}' cannot be ignored: it is neither a class nor a value nor a color of the masks")
    counted = [one for one in named if one.value not in gone]
    labels = tuple(one.name for one in counted)
    colors = tuple(one.color for one in counted if one.color is not None)
    if len(labels) > IGNORE:
        raise DataError(f"there are {len(labels)} classes; a mask of 8 bits holds {IGNORE}")
    index = {one.value: i for i, one in enumerate(counted)}
    if coding == "color":
        coded = tuple(one.color for one in named if one.color is not None)
        rest = [color for color in dict.fromkeys(shades) if color not in coded]
        table = tuple(index.get(one.value, IGNORE) for one in named) + (IGNORE,) * len(rest)
        return Classes(labels, colors, coding, table, (*coded, *rest))
    codes = [-1] * (max((*values, *extra)) + 1)
    if len(codes) > IGNORE:
        codes[IGNORE] = IGNORE
    for value in (*values, *extra):
        codes[value] = IGNORE if value in gone else index[value]
    return Classes(labels, colors if len(colors) == len(labels) else (), coding, tuple(codes))


def _coding(named: Sequence[Named], files: Sequence[Path]) -> Coding:
    """Whether masks hold values or colors: colors only where every class has one and a mask's pixels are such colors."""
    colors = {one.color for one in named}
    if None in colors or len(colors) < len(named):
        return "index"
    values = {one.value for one in named}
    for path in files[:_PEEKED]:
        found, in_color = masks.peek(path)
        if in_color:
            return "color"
        if not set(found) <= values:
            return "color" if set(masks.peek_colors(path)) <= colors else "index"
    return "index"


def _is_binary(named: Sequence[Named], files: Sequence[Path]) -> bool:
    """Whether there are two classes, and masks hold nothing but 0 and 255."""
    if [one.value for one in named] != [0, 1]:
        return False
    found = {value for path in files[:_PEEKED] for value in masks.peek(path)[0]}
    return found == {0, IGNORE}


def _from_values(files: Sequence[Path], ignore: Sequence[str]) -> Classes:
    """Classes named by the values that occur in the masks."""
    not_values = [text for text in ignore if not text.isdecimal()]
    if not_values:
        raise DataError(
            f"'{not_values[0]}' cannot be ignored: the classes have no names", hint="name them in classes.txt, one a line"
        )
    found: set[int] = set()
    with ThreadPoolExecutor(thread_name_prefix="masks") as pool:
        for values in pool.map(_values, files):
            found.update(values)
    gone = {int(text) for text in ignore}
    binary = found == {0, IGNORE} and IGNORE not in gone
    kept = sorted(found - gone if binary else found - gone - {IGNORE})
    if not kept:
        raise DataError(f"none of the {len(files)} masks holds a class")
    if len(kept) > MOST_VALUES:
        raise DataError(
            f"the masks hold {len(kept)} different values, from {kept[0]} to {kept[-1]}, and nothing names their classes",
            hint="were they saved as JPEG or resized? else name the classes in classes.txt, one a line",
        )
    labels = [Named(f"class {1 if binary and value == IGNORE else value}", value) for value in kept]
    names = "class 0 and 255 as class 1" if binary else f"{len(kept)} values found in the masks"
    note = f"no file names the classes: {names}; name them in classes.txt, one a line"
    return replace(_from_names(labels, "index", list(ignore)), notes=(note,))


def _values(path: Path) -> tuple[int, ...]:
    try:
        return tuple(np.flatnonzero(np.bincount(masks.stored(Mask(path)).ravel())).tolist())
    except ImageError as error:
        if isinstance(error.__cause__, Exception):
            return ()  # a file that cannot be read is named when it is checked or drawn
        raise DataError(str(error), hint=error.hint) from error


def _table(path: Path, text: str) -> Iterable[Named]:
    delimiter = ";" if ";" in text.split("\n", 1)[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = {field.strip().lower(): field for field in reader.fieldnames or () if field}
    column = {key: next((header[word] for word in words if word in header), None) for key, words in _COLUMNS.items()}
    name = column["name"]
    if name is None:
        raise DataError(f"'{path}' has no column 'name'; it has {', '.join(header) or 'none'}", hint=_HINT)
    shades = [column[key] for key in "rgb"]
    for i, row in enumerate(row for row in reader if (row[name] or "").strip()):
        where = f"'{path}' line {reader.line_num}"
        value = row.get(column["value"] or "") or str(i)
        color = _color([row[shade] for shade in shades if shade is not None], where) if all(shades) else None
        if not value.strip().isdecimal() or int(value) >= masks.STRAY:
            raise DataError(f"{where}: '{value}' is no value of a mask")
        yield Named(row[name].strip(), int(value), color)


_CVAT = re.compile(r"^([^:]+):(\d+,\d+,\d+|):[^:]*:[^:]*$")
_COLOR_FIRST = re.compile(r"^(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\D.*)$")
_COLOR_LAST = re.compile(r"^(\D.*?)[\s,:]+(\d+)[\s,]+(\d+)[\s,]+(\d+)$")
_NUMBERED = re.compile(r"^(\d+)\s*[:=,\t]\s*(\D.*)$")


def _line(path: Path, i: int, line: str) -> Named:
    """A line of a text file: a name, or one with a value before it or a color beside it."""
    where = f"'{path}' line {i + 1}"
    if found := _CVAT.match(line):
        return Named(found[1].strip(), i, _color(found[2].split(","), where) if found[2] else None)
    if found := _COLOR_FIRST.match(line):
        return Named(found[4].strip(), i, _color([found[1], found[2], found[3]], where))
    if found := _COLOR_LAST.match(line):
        return Named(found[1].strip(), i, _color([found[2], found[3], found[4]], where))
    if found := _NUMBERED.match(line):
        return Named(found[2].strip(), int(found[1]))
    return Named(line, i)


def _color(texts: Sequence[str | None], where: str) -> Color:
    values = [int(text) if text is not None and text.strip().isdecimal() else -1 for text in texts]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise DataError(f"{where}: {', '.join(str(text) for text in texts)} is no color; three numbers of 0 to 255 are")
    return values[0], values[1], values[2]


def _hex(text: str) -> Color | None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        return None
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _twice(values: Sequence[object]) -> object | None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None

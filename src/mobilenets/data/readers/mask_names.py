"""Reads files that name the classes of masks: lines of names, tables with colors, CVAT's and other tools' label maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data import masks
from mobilenets.data.masks import Color
from mobilenets.data.readers.rows import cells_of, columns_of, read_rows
from mobilenets.data.text import class_name, columns_shown, legible, read_text, shown, whole
from mobilenets.errors import DataError

ADE = "objectinfo150.txt"
"""ADE20K's file of names, in lower case: a number, statistics and synonyms for each class; 0 is everything else."""

_SEPARATOR = re.compile(r"[\s,:]+")
_HINT = "one name per line, or the columns name,r,g,b"
_COLUMNS = {
    "name": ("name", "class", "label", "category", "class_name"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "value": ("value", "pixel value", "id", "index", "label_id"),
}


@dataclass(frozen=True, slots=True)
class Named:
    """A class as a file describes it.

    Args:
        name: the class name.
        value: its value in masks.
        color: its color in masks or for display; None if none is given.
    """

    name: str
    value: int
    color: Color | None = None


def read_names(path: Path) -> tuple[Named, ...]:
    """The classes that a file names: lines of names, `name,r,g,b` with a header, CVAT's labelmap, or `r g b name`.

    Raises:
        DataError: the file cannot be read, or a line is not valid.
    """
    if path.suffix.lower() == ".csv":
        named = tuple(_table(path))
    elif path.name.lower() == ADE:
        named = tuple(_ade(path))
    else:
        lines = [(number, line.strip()) for number, line in enumerate(read_text(path).lines, start=1)]
        kept = [(number, line) for number, line in lines if line and not line.startswith("#")]
        if kept and kept[0][1] == "__ignore__":  # labelme's name for 255
            del kept[0]
        named = tuple(_line(f"'{path}' line {number}", i, line) for i, (number, line) in enumerate(kept))
    if not named:
        raise DataError(f"'{path}' names no class", hint=_HINT)
    for what in ("name", "value"):
        twice = repeated([getattr(entry, what) for entry in named])
        if twice is not None:
            raise DataError(f"'{path}' has the {what} '{twice}' twice")
    return named


def repeated(values: Sequence[object]) -> object | None:
    """The first value that occurs a second time; None if there is none."""
    seen: set[object] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _table(path: Path) -> Iterable[Named]:
    rows = read_rows(path)
    columns = columns_of(rows.header, _COLUMNS)
    if "name" not in columns:
        raise DataError(f"'{path}' has no column 'name'; it has {columns_shown(rows.header)}", hint=_HINT)
    for i, (line, row) in enumerate(
        (line, row) for line, row in rows.cells if len(row) > columns["name"] and row[columns["name"]].strip()
    ):
        where = f"'{path}' line {line}"
        cells = cells_of(row, columns)
        color = _color([cells[shade] for shade in "rgb"], where) if all(shade in columns for shade in "rgb") else None
        value = whole(cells.get("value") or str(i))
        if value is None or value >= masks.STRAY:
            raise DataError(f"{where}: {shown(cells.get('value', ''))} is not a value of a mask")
        yield Named(class_name(cells["name"], where), value, color)


def _ade(path: Path) -> Iterable[Named]:
    """ADE20K's classes by the first of their synonyms."""
    rows = [line.split("\t") for line in read_text(path).lines[1:] if line.strip()]
    first = [re.split("[,;]", row[-1])[0].strip() for row in rows]
    yield Named("unlabeled", 0)
    for number, (row, name) in enumerate(zip(rows, first, strict=True), start=2):
        value = whole(row[0].strip())
        if value is None or value >= masks.STRAY or len(row) < 2:
            raise DataError(f"'{path}' line {number} is not a number and a name, separated by tabs")
        yield Named(class_name(name if first.count(name) == 1 else row[-1], f"'{path}' line {number}"), value)


def _line(where: str, i: int, line: str) -> Named:
    """The class on a line of a text file: a name, perhaps with a value before it or a color beside it."""
    name, colon, rest = line.partition(":")
    if colon and rest.count(":") == 2:  # CVAT's name:r,g,b:parts:actions
        color = rest.partition(":")[0]
        return Named(class_name(name, where), i, _color(color.split(","), where) if color else None)
    first = _SEPARATOR.split(line, maxsplit=3)  # r g b name
    if len(first) == 4 and all(map(str.isdecimal, first[:3])) and not first[3][:1].isdecimal():
        return Named(class_name(first[3], where), i, _color(first[:3], where))
    last = [word[::-1] for word in _SEPARATOR.split(line[::-1], maxsplit=3)]  # name r g b, from the end
    if len(last) == 4 and all(map(str.isdecimal, last[:3])) and not last[3][:1].isdecimal():
        return Named(class_name(last[3], where), i, _color(last[2::-1], where))
    for sign in ":=,\t":  # 7: name
        number, separator, name = line.partition(sign)
        value = whole(number.strip())
        if separator and value is not None and name.strip() and not name.strip()[0].isdecimal():
            return Named(class_name(name, where), value)
    return Named(class_name(line, where), i)


def _color(texts: Sequence[str], where: str) -> Color:
    values = [value for text in texts if (value := whole(text.strip())) is not None and value <= 255]
    if len(texts) != 3 or len(values) != 3:
        raise DataError(
            f"{where}: {', '.join(legible(text[:20]) for text in texts)} is not a color, which is three numbers from 0 to 255"
        )
    return values[0], values[1], values[2]

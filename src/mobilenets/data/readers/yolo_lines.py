"""Reads the lines of YOLO's label files: a class, and a box, a pose or a polygon in shares of the image's width and height."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mobilenets.data.text import shown
from mobilenets.errors import DataError

_MOST = 2.0  # larger values are px, not shares
_CLEAR = 20  # characters of a wrong number shown in an error


class Line(NamedTuple):
    """An object on a line.

    Args:
        class_index: its class.
        x0, y0, x1, y1: its box, as shares of the image.
        polygon: x0 y0 x1 y1 ... as shares of the image; () for a box or a pose.
    """

    class_index: int
    x0: float
    y0: float
    x1: float
    y1: float
    polygon: tuple[float, ...] = ()


def is_label(line: str) -> bool:
    """Whether a line is a class followed by at least four shares.

    >>> is_label("0 .5 .5 .2 .2"), is_label("0 48 36 20 20"), is_label("a cat")
    (True, False, False)
    """
    try:
        values = [float(word) for word in _words(line)]
    except ValueError:
        return False
    return len(values) >= 5 and values[0] == values[0] // 1 and all(abs(value) <= _MOST for value in values[1:5])


def read_lines(path: Path, lines: Iterable[str], keypoints: int) -> Iterator[Line]:
    """The objects in a label file.

    Args:
        path: the file, for errors.
        lines: its lines.
        keypoints: how many numbers a pose has after its box; 0 if unknown.

    Raises:
        DataError: a line is not such an object; the message names it.
    """
    for i, line in enumerate(lines, start=1):
        words = _words(line)
        if not words:
            continue
        where = f"'{path}' line {i}"
        try:
            values = [float(word) for word in words]
        except ValueError as error:
            hint = "a line is: class center_x center_y width height; the class is its number"
            raise DataError(f"{where} is {shown(line.strip())}, not only numbers", hint=hint) from error
        yield _line(where, words, values, keypoints)


def _words(line: str) -> list[str]:
    """The numbers on a line. If spaces separate them and none has a point, commas are decimal points; otherwise separators."""
    words = line.split()
    decimal = len(words) >= 5 and "." not in line and any("," in word.rstrip(",") for word in words[1:])
    return [word.replace(",", ".") for word in words] if decimal else line.replace(",", " ").split()


def _line(where: str, words: list[str], values: list[float], keypoints: int) -> Line:
    """The object on a line: five numbers, six with a score, a pose, or a polygon."""
    pose = len(values) == 5 + keypoints if keypoints else _has_visibilities(values)
    if len(values) < 5 or (len(values) > 6 and len(values) % 2 == 0 and not pose):
        raise DataError(f"{where} has {len(values)} numbers, not five", hint="a line is: class center_x center_y width height")
    if not math.isfinite(values[0]) or values[0] != int(values[0]):
        raise DataError(f"{where}: the class is {shown(words[0])}, not a whole number")
    shares = values[1:5] if len(values) <= 6 or pose else values[1:]
    wrong = next((word for word, value in zip(words[1:], shares, strict=False) if not abs(value) <= _MOST), None)
    if wrong is not None:
        raise DataError(
            f"{where}: {wrong[:_CLEAR]} is not a share of the image", hint="divide px by the image's width or height"
        )
    if len(shares) == 4:
        x, y, width, height = shares
        return Line(int(values[0]), x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    xs, ys = shares[::2], shares[1::2]
    return Line(int(values[0]), min(xs), min(ys), max(xs), max(ys), tuple(shares))


def _has_visibilities(values: list[float]) -> bool:
    """Whether a box is followed by points of x, y and a visibility of 0, 1 or 2, a pattern that no polygon has."""
    rest = values[5:]
    return len(rest) >= 6 and len(rest) % 3 == 0 and all(value in (0, 1, 2) for value in rest[2::3])

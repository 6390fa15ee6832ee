"""`Locator` finds the image that an annotation file refers to, however the file writes its path.

Annotation files come from other machines. Their paths may have backslashes, drives, percent escapes, different case, folders
that no longer exist, or no extension. The path as written is tried first. Any other interpretation must match exactly one file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from mobilenets.data.text import legible
from mobilenets.data.walk import SUFFIXES, Tree, alike, stem_of, suffix_of
from mobilenets.errors import DataError

_ELSEWHERE = re.compile(r"^([A-Za-z]:|[a-z0-9]+:/)/")  # a drive, or an object store such as gs://bucket/
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # limits in bytes of common file systems


class Locator:
    """Finds images below a folder by the paths that annotation files give.

    Args:
        tree: the folder.
        first: folders inside it that are searched before all others.
    """

    def __init__(self, tree: Tree, first: Sequence[str] = ("",)) -> None:
        self._tree = tree
        self._first = tuple(dict.fromkeys(first))
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}

    def find(self, written: str, where: str) -> Path:
        """The path of an image. If no file fits, this is the path as written, which `check` then reports as missing.

        Args:
            written: the path or name of the image.
            where: the file and the place in it, for the error.

        Raises:
            DataError: no file system allows such a path.
        """
        checked_path(written, where)
        readings = list(dict.fromkeys(_readings(written)))
        for reading in readings:
            path = self._at(reading)
            if path is not None:
                return path
        for reading in readings:
            inner = self._by_its_end(reading)
            if inner is not None:
                return self._tree.root / inner
        plain = readings[0] if (os.sep == "\\" or "\\" not in written) else written.replace("\\", "/")
        return self._tree.root / self._first[0] / plain

    def name(self, path: Path) -> str:
        """The name of an image in reports: its path relative to the folder."""
        return path.relative_to(self._tree.root).as_posix() if path.is_relative_to(self._tree.root) else path.as_posix()

    def _at(self, reading: str) -> Path | None:
        """The file at an absolute path, or at a path relative to one of the first folders."""
        if reading.startswith("/") or ".." in reading.split("/"):
            paths = (self._tree.root / folder / reading for folder in self._first)
            return next((Path(os.path.normpath(path)) for path in paths if path.is_file()), None)
        parts = [part for part in reading.split("/") if part not in ("", ".")]
        for folder in self._first:
            inner = self._tree.resolved("/".join([*filter(None, [folder]), *parts]))
            if inner is not None and inner in self._tree:
                return self._tree.root / inner
        return None

    def _by_its_end(self, reading: str) -> str | None:
        """The only image whose path ends like the given one; a name without extension matches any image of that name."""
        if not self._by_name:
            for image in self._tree.images():
                self._by_name.setdefault(alike(image.rpartition("/")[2]), []).append(image)
                self._by_stem.setdefault(alike(stem_of(image)), []).append(image)
        parts = [part for part in alike(reading).split("/") if part not in ("", ".", "..")]
        if not parts:
            return None
        bare = suffix_of(parts[-1]) not in SUFFIXES
        candidates = (self._by_stem if bare else self._by_name).get(parts[-1], [])
        ends = [_common_end(parts, alike(candidate).split("/")) for candidate in candidates]
        best = max(ends, default=0)
        foreign = reading.startswith("/") or _ELSEWHERE.match(reading) is not None
        if best < 2 and len(parts) > 1 and not (foreign and len(candidates) == 1):
            return None  # the path names a folder, but the image is in another one
        fitting = [candidate for candidate, count in zip(candidates, ends, strict=True) if count == best]
        return fitting[0] if len(fitting) == 1 else None


def checked_path(written: str, where: str) -> str:
    """The same path, if a file system allows it.

    Raises:
        DataError: the path has a zero byte, is too long, or cannot be encoded.
    """
    try:
        raw = os.fsencode(written)
    except UnicodeEncodeError as error:
        raise DataError(f"{where} has the path '{legible(written[:80])}' with characters that no file name has") from error
    if b"\0" in raw:
        raise DataError(f"{where} has a path with a zero byte")
    if len(raw) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in re.split(rb"[/\\]", raw)):
        raise DataError(f"{where} has a path of {len(written):,} characters, longer than file systems allow")
    return written


def _readings(written: str) -> list[str]:
    """The possible interpretations of a path, the most likely first."""
    local = written.removeprefix("file://")
    forms = [local]
    if os.sep == "/" and "\\" in local:
        forms.append(local.replace("\\", "/"))
    if "%" in local:
        forms += [unquote(form) for form in forms]
    return [form for form in forms if "\0" not in form]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """How many of the last parts of two paths are equal, counting their names, which may differ in a missing file ending."""
    count = 1
    for left, right in zip(first[-2::-1], second[-2::-1], strict=False):
        if left != right:
            break
        count += 1
    return count

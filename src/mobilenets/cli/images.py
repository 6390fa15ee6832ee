"""Finds the images that the command line's arguments name: files, folders, globs and standard input."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mobilenets.errors import DataError, ImageError

if TYPE_CHECKING:
    from mobilenets.runtime.sources import Source

HEAD = 4096  # bytes of standard input that are read to distinguish an image from a list of paths
LARGEST = 1 << 30  # maximum size of an image on standard input, bytes
LONGEST = 1 << 16  # maximum length of a line with a path, bytes
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def images(sources: Iterable[str], *, skipped: Callable[[str], object] = lambda text: None) -> Iterator[Source]:
    """The images that the sources name, lazily: files as given, folders and globs searched, "-" from standard input.

    Args:
        sources: the arguments as typed.
        skipped: called with what was skipped and why: unreadable folders, pipes, devices and link loops.

    Raises:
        DataError: a folder or glob has no images, or standard input is empty.
    """
    for source in sources:
        if source == "-":
            yield from _standard_input(skipped)
        else:
            yield from _named(source, skipped)


def image_files(source: str, *, skipped: Callable[[str], object] = lambda text: None) -> list[Path]:
    """The image files that a folder or a glob names, sorted, or the one image file; [] for anything else.

    Args:
        source: the argument as typed.
        skipped: as for `images`.
    """
    from mobilenets.data.walk import SUFFIXES, suffix_of

    path = Path(source)
    if path.is_dir():
        return sorted(_below(path, skipped))
    found = sorted(_matched(source, skipped)) if not path.exists() and any(sign in source for sign in "*?[") else [path]
    return [file for file in found if suffix_of(file.name) in SUFFIXES and file.is_file()]


def _named(source: str, skipped: Callable[[str], object]) -> Iterator[Source]:
    if _ADDRESS.match(source):
        yield _OnTheWeb(source)
        return
    path = Path(source)
    if path.is_dir():
        images, missing = _below(path, skipped), f"no images in '{source}'"
    elif not path.exists() and any(sign in source for sign in "*?["):
        images, missing = _matched(source, skipped), f"no images match '{source}'"
    else:
        yield path
        return
    first = next(images, None)
    if first is None:
        raise _nothing(path, missing)
    yield first
    yield from images


def _below(folder: Path, skipped: Callable[[str], object], *, any_name: bool = False) -> Iterator[Path]:
    """The image files below a folder, recognized by file extension unless `any_name` is set."""
    from mobilenets.data.walk import SUFFIXES, suffix_of, walk

    for inner in walk(folder):
        for fault in inner.faults:
            skipped(f"{folder if fault.file == '.' else folder / fault.file}: {fault.message}")
        for name in inner.files:
            if any_name or suffix_of(name) in SUFFIXES:
                yield folder / inner.path / name


def _matched(pattern: str, skipped: Callable[[str], object]) -> Iterator[Path]:
    """The files that match the pattern, and the images in the folders that match it."""
    if "**" in pattern:  # circular links would keep `glob` busy forever
        yield from sorted(_matched_below(pattern, skipped))
        return
    from glob import glob

    for path in map(Path, sorted(glob(pattern))):  # noqa: PTH207  # the pattern may be absolute
        if path.is_dir():
            yield from _below(path, skipped)
        else:
            yield path


def _matched_below(pattern: str, skipped: Callable[[str], object]) -> Iterator[Path]:
    parts = Path(pattern).parts
    plain = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
    root = Path(*parts[:plain])
    ways = [
        ".*" if part == "**" else fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z") for part in parts[plain:]
    ]
    whole = "".join(f"(?:{way}/)?" if way == ".*" else f"(?:{way.replace('.*', '[^/]*')})/" for way in ways)
    matches = re.compile(whole, re.DOTALL)
    for path in _below(root, skipped, any_name=True):
        if matches.fullmatch(f"{path.relative_to(root).as_posix()}/"):
            yield path


def _nothing(path: Path, missing: str) -> DataError:
    """The error for a folder without images. It says what the folder contains instead, if that is known."""
    from mobilenets.data.readers.foreign import unread_images
    from mobilenets.data.walk import scan

    unread = unread_images(scan(path)) if path.is_dir() else None
    if unread is None:
        return DataError(missing)
    words, hint = unread
    return DataError(f"{missing}: it holds {words}", hint=hint)


@dataclass(frozen=True)
class _OnTheWeb:
    """A web address given instead of a file."""

    name: str

    def read(self) -> bytes:
        if self.name.startswith(("http:", "https:")):
            raise ImageError("images on the web are not fetched; download it first, for instance with curl -O")
        raise ImageError("object stores are read with --engine ray --out FOLDER; or download it first")


@dataclass(frozen=True)
class _Piped:
    """An image from standard input."""

    data: bytes
    name: str = "-"

    def read(self) -> bytes:
        return self.data


def _standard_input(skipped: Callable[[str], object]) -> Iterator[Source]:
    """One image, or the images of a list of paths. Text contains no zero byte, but image files do."""
    stream = cast(BufferedReader, sys.stdin.buffer)
    head = stream.peek(HEAD)[:HEAD]
    if not head:
        raise DataError("there is nothing on standard input", hint="pipe an image or a list of paths into it")
    if b"\0" in head:
        data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise DataError(f"the image on standard input has more than {LARGEST >> 20} MB", hint="give its file instead")
        yield _Piped(data)
        return
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise DataError(
                f"a line on standard input is longer than any path, {LONGEST:,} bytes", hint="give one path per line"
            )
        if name := os.fsdecode(line).strip("\r\n"):
            yield from _named(name, skipped)

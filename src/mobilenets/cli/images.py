"""What images the command line's arguments name: files, folders, globs, standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mobilenets.errors import DataError, ImageError

if TYPE_CHECKING:
    from mobilenets.runtime.sources import Source

HEAD = 4096  # bytes of standard input that tell an image from a list of paths
LARGEST = 1 << 30  # bytes of an image on standard input
LONGEST = 1 << 16  # bytes of a line with a path
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def images(sources: Iterable[str]) -> Iterator[Source]:
    """The images that sources name, lazily: files as they are, folders and globs searched, "-" from standard input.

    Raises:
        DataError: a folder or glob has no images, or standard input is empty.
    """
    for source in sources:
        if source == "-":
            yield from _standard_input()
        else:
            yield from _named(source)


def _named(source: str) -> Iterator[Source]:
    if _ADDRESS.match(source):
        yield _OnTheWeb(source)
        return
    path = Path(source)
    if path.is_dir():
        from mobilenets.data.entries import image_files

        found: Iterator[Path] = image_files(path)
        missing = f"no images in '{source}'"
    elif not path.exists() and any(sign in source for sign in "*?["):
        from glob import glob

        found = _matched(sorted(glob(source, recursive=True)), folders="**" not in source)  # noqa: PTH207  # may be absolute
        missing = f"no images match '{source}'"
    else:
        yield path
        return
    first = next(found, None)
    if first is None:
        raise DataError(missing)
    yield first
    yield from found


def _matched(paths: list[str], *, folders: bool) -> Iterator[Path]:
    """The files among `paths`, and what is in the folders among them."""
    from mobilenets.data.entries import image_files

    for path in map(Path, paths):
        if path.is_file():
            yield path
        elif folders:
            yield from image_files(path)


@dataclass(frozen=True)
class _OnTheWeb:
    """An address in place of a file."""

    name: str

    def read(self) -> bytes:
        raise ImageError("images on the web are not fetched; download it first, for instance with curl -O")


@dataclass(frozen=True)
class _Piped:
    """The image on standard input."""

    data: bytes
    name: str = "-"

    def read(self) -> bytes:
        return self.data


def _standard_input() -> Iterator[Source]:
    """One image, or the images of a list of paths; text has no zero byte, image files have."""
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
            raise DataError(f"a line on standard input is longer than any path, {LONGEST:,} bytes", hint="give one path a line")
        if name := os.fsdecode(line).strip("\r\n"):
            yield from _named(name)

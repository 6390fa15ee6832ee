"""`Source`: the dataset that a user names, scanned once before any reader is tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS
from mobilenets.data.walk import IMAGES, Tree, scan
from mobilenets.errors import DataError


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset is.

    Args:
        text: the user's text: a path, a glob, an address or a name.
        path: the same text as a path.
        tree: all files below it, if it is a folder.
    """

    text: str
    path: Path
    tree: Tree | None = None

    @property
    def suffix(self) -> str:
        """The file's ending in lower case; "" for a folder, or if nothing is there."""
        return self.path.suffix.lower() if self.tree is None and self.path.is_file() else ""


def around(file: Path) -> tuple[Tree, str]:
    """The folder that contains a description's images, and the description's path in it.

    It is the description's own folder, or the one above if only that one has images.

    Raises:
        DataError: the folder cannot be read.
    """
    tree = scan(file.parent)
    above = file.resolve().parent.parent
    if tree.images() or above == Path(above.anchor):
        return tree, file.name
    word = file.stem.lower().removeprefix("instances_")
    own = file.resolve().parent.name.lower()
    outer = scan(above, only=IMAGES | SPLIT_WORDS.keys() | {word, f"images_{word}", own})
    return (outer, f"{file.resolve().parent.name}/{file.name}") if outer.images() else (tree, file.name)


def look_at(source: str | Path) -> Source:
    """The source, with all files below it if it is a folder.

    Raises:
        DataError: the folder cannot be read, or the text cannot be a path.
    """
    text = str(source)
    if not text.strip():
        raise DataError("the name of a dataset is empty", hint="is a variable of the shell not set?")
    if "\0" in text:
        raise DataError("the name of a dataset has a zero byte")
    path = Path(text)
    try:
        if path.is_dir() and path.resolve() == Path(path.resolve().anchor):
            raise DataError(f"'{text}' is the root of the file system, not a dataset")
        return Source(text, path, scan(path) if path.is_dir() else None)
    except OSError as error:
        raise DataError(f"'{text}' cannot be read: {error.strerror or error}") from error

"""`Source`: what a user named, looked at once before any reader is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS
from mobilenets.data.walk import IMAGES, Tree, scan
from mobilenets.errors import DataError


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset may be.

    Args:
        text: as the user wrote it: a path, a glob, an address or a name.
        path: the same as a path.
        tree: all files below it, where it is a folder.
    """

    text: str
    path: Path
    tree: Tree | None = None

    @property
    def suffix(self) -> str:
        """The ending of a file's name in lower case; "" for a folder and for what is not there."""
        return self.path.suffix.lower() if self.tree is None and self.path.is_file() else ""


def around(file: Path) -> tuple[Tree, str]:
    """The folder of a description with all below it, or the one above where that has the images; and the file's path in it.

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
    """The source with all files below it.

    Raises:
        DataError: it is a folder that cannot be read, or not the name of anything.
    """
    text = str(source)
    if "\0" in text:
        raise DataError("the name of a dataset has a zero byte")
    path = Path(text)
    try:
        if path.is_dir() and path.resolve() == Path(path.resolve().anchor):
            raise DataError(f"'{text}' is the root of the file system, not a dataset")
        return Source(text, path, scan(path) if path.is_dir() else None)
    except OSError as error:
        raise DataError(f"'{text}' cannot be read: {error.strerror or error}") from error

"""`Source`: what a user named, looked at once before any reader is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.walk import Tree, scan
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
        return Source(text, path, scan(path) if path.is_dir() else None)
    except OSError as error:
        raise DataError(f"'{text}' cannot be read: {error.strerror or error}") from error

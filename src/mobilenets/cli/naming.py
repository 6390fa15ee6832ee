"""Names for the files that `mobilenets predict` writes for its input images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class Names:
    """Gives each image a name for its output: its path relative to the folder that was given, or else its file name.

    No two names are the same, even without their extensions: a number is appended to a name that is taken.

    Args:
        sources: the command's arguments: images and folders.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._folders = [Path(source) for source in sources if source != "-" and Path(source).is_dir()]
        self._taken: set[str] = set()

    def of(self, image: str) -> PurePosixPath:
        """The output name of the next image, which is given by its path, or is "-" for standard input."""
        path = Path(image)
        inner = next((path.relative_to(folder) for folder in self._folders if path.is_relative_to(folder)), Path(path.name))
        if image in ("-", "<bytes>") or ".." in inner.parts:
            inner = Path("image" if image in ("-", "<bytes>") else path.name)
        stem, number = inner.with_suffix("").as_posix(), 1
        name = stem
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        return PurePosixPath(name + inner.suffix)

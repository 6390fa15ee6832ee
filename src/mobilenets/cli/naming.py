"""Names for the files that `mobilenets predict` writes for its input images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class Names:
    """Gives each image an output name: its own, including subfolders of the given folder. Names are unique without the suffix.

    Args:
        sources: the command's arguments. Names are relative to the folders among them.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._folders = [Path(source) for source in sources if source != "-" and Path(source).is_dir()]
        self._taken: set[str] = set()

    def of(self, image: str) -> PurePosixPath:
        """The output name of the next image, given by its path or "-"."""
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

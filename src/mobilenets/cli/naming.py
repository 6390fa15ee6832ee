"""Names of the files that `mobilenets predict` writes for the images it was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class Names:
    """A name for each image: its own, with its folders below the folder that was given; no two are the same before the dot.

    Args:
        sources: what was given: the folders among them are those that names are below.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._folders = [Path(source) for source in sources if source != "-" and Path(source).is_dir()]
        self._taken: set[str] = set()

    def of(self, image: str) -> PurePosixPath:
        """The name of the next image, which is called that: its path, or "-"."""
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

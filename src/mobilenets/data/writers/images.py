"""Names and copies the images of a dataset that is written in another format."""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mobilenets import files
from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import DataError, ImageError
from mobilenets.runtime.images.decode import upright_size

_NAMED = 5  # images without a readable header that are named
_UNWRITABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # categories of Unicode that break lines, XML or a spreadsheet


@dataclass(frozen=True, slots=True)
class Placed:
    """An image under its new name.

    Args:
        sample: the sample that it comes from.
        name: its new file name; no other image has the same part before the dot.
        width, height: size of the upright image, px.
    """

    sample: Sample
    name: str
    width: int
    height: int

    @property
    def stem(self) -> str:
        """The name before the dot."""
        return PurePosixPath(self.name).stem


def place(dataset: Dataset, notes: list[str]) -> list[Placed]:
    """The images under their new names. Images without a readable header are left out and reported in `notes`."""
    placed, left_out = [], []
    for sample, name in zip(dataset.samples, plain_names(dataset.samples), strict=True):
        try:
            width, height = upright_size(sample.read() if sample.url or sample.member else sample.path)
        except (ImageError, OSError) as error:
            left_out.append(f"{sample.name} is left out: {error}")
            continue
        placed.append(Placed(sample, name, width, height))
    notes += left_out[:_NAMED]
    if len(left_out) > _NAMED:
        notes.append(f"{len(left_out) - _NAMED:,} more images are left out; mobilenets check lists them all")
    return placed


def plain_names(samples: Sequence[Sample]) -> list[str]:
    """A file name for each sample: its own if the part before the dot is unique, else one that includes its folders.

    Characters that break lines and bytes that are not UTF-8 become underscores, so that every format can contain the name.
    """
    names = [PurePosixPath(plain(sample.name or sample.path.name).rpartition("/")[2]) for sample in samples]
    uses = Counter(name.stem.lower() for name in names)
    taken = {name.stem.lower() for name in names if uses[name.stem.lower()] == 1}
    return [
        name.name if uses[name.stem.lower()] == 1 else _spelled(sample, name, taken)
        for sample, name in zip(samples, names, strict=True)
    ]


def plain(text: str) -> str:
    """The text with an underscore in place of each character that a line of a text file or XML cannot contain.

    >>> plain("a\\nb\\udcff.jpg")
    'a_b_.jpg'
    """
    return "".join("_" if unicodedata.category(character) in _UNWRITABLE else character for character in text)


def copy(placed: Placed, folder: Path, *, link: bool) -> None:
    """Copy the image into `folder`. With `link`, make a symbolic link instead, if the image is a file and not in a tar file.

    Raises:
        DataError: it cannot be read or written.
    """
    sample, target = placed.sample, folder / placed.name
    try:
        if sample.url or sample.member is not None:
            target.write_bytes(sample.read())
        elif link:
            target.symlink_to(sample.path.resolve())
        else:
            shutil.copyfile(sample.path, target)
    except OSError as error:
        raise DataError(f"'{sample.name}' cannot be copied: {error.strerror or error}") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which appears as `folder` when it is complete.

    Raises:
        DataError: `folder` is not empty, or cannot be written.
    """
    try:
        if folder.is_dir() and next(folder.iterdir(), None) is not None:
            raise DataError(f"'{folder}' is not empty", hint="name a folder that does not exist yet")
        with files.drafted_folder(folder) as draft:
            yield draft
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, and create the folders above it.

    Raises:
        DataError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", "surrogateescape", newline="\n")
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror}") from error


def _spelled(sample: Sample, name: PurePosixPath, taken: set[str]) -> str:
    longer = PurePosixPath(plain(sample.name or name.name).replace("/", "_"))
    stem = next(stem for stem in _numbered(longer.stem) if stem.lower() not in taken)
    taken.add(stem.lower())
    return stem + longer.suffix


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    i = 2
    while True:
        yield f"{stem}_{i}"
        i += 1

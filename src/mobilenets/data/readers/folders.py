"""A folder per class, with or without split folders above: `photos/cat/1.jpg` or `photos/train/cat/1.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mobilenets.data.entries import SPLIT_WORDS, SUFFIXES, Entry, Listing, in_order
from mobilenets.data.samples import Split
from mobilenets.errors import DataError

_JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
_LAYOUT = "expected a folder per class, as photos/cat/1.jpg, or a list of images as CSV with the columns path,label"


def read_folder(folder: Path) -> Listing:
    """Every image below the folder, by class.

    Hidden files and folders are passed over. Class folders without any image are left out and named.

    Raises:
        DataError: the folder has no class folders, or class folders hold folders of images themselves.
    """
    folders, files = _scan(folder)
    by_split = _split_folders(folders)
    if by_split is None:
        if not folders:
            found = f"{_images(files)} images but no folder" if files else "nothing"
            raise DataError(f"'{folder}' holds {found}", hint=_LAYOUT)
        entries, empty, ignored = _classes(folder, folders, None)
        ignored = [*files, *ignored]
    else:
        entries, empty, ignored = [], [], list(files)
        for path, split in by_split:
            classes, loose = _scan(path)
            if not classes and _images(loose):
                raise DataError(f"'{path}' holds {_images(loose)} images but no folder per class", hint=_LAYOUT)
            more, without, passed = _classes(folder, classes, split)
            entries += more
            empty += without
            ignored += [*loose, *passed]
    if not entries:
        raise DataError(f"no folder below '{folder}' holds an image", hint=_LAYOUT)
    labels = in_order(entry.label for entry in entries)
    notes = tuple(f"'{path}' holds no image" for path in empty)
    return Listing(tuple(entries), labels, folder.resolve().name, notes, tuple(ignored))


def _split_folders(folders: Iterable[Path]) -> list[tuple[Path, Split]] | None:
    """The split folders among these, or None where they are class folders."""
    named = [(path, SPLIT_WORDS[path.name.lower()]) for path in folders if path.name.lower() in SPLIT_WORDS]
    others = [path for path in folders if path.name.lower() not in SPLIT_WORDS]
    if not named or not any(_scan(path)[0] for path, _ in named):
        return None if others or not named else named
    strangers = [path for path in others if _holds_images(path)]
    if strangers:
        raise DataError(
            f"'{strangers[0]}' lies beside the split folder '{named[0][0].name}'",
            hint="put every class folder below train/, val/ or test/, or leave the split folders out",
        )
    return named


def _classes(root: Path, folders: Iterable[Path], split: Split | None) -> tuple[list[Entry], list[Path], list[Path]]:
    """Entries of class folders, class folders without an image, and files that are no images."""
    entries: list[Entry] = []
    empty: list[Path] = []
    ignored: list[Path] = []
    for path in folders:
        inner, files = _scan(path)
        nested = [one for one in inner if _holds_images(one)]
        if nested:
            raise DataError(
                f"'{path}' holds folders with images: {', '.join(repr(one.name) for one in nested[:3])}",
                hint="put the images of a class directly into its folder, or list them in a CSV with the columns path,label",
            )
        images = [file for file in files if file.suffix.lower() in SUFFIXES]
        ignored += [file for file in files if file.suffix.lower() not in SUFFIXES]
        if not images:
            empty.append(path)
        entries += [Entry(file, path.name, file.relative_to(root).as_posix(), split) for file in images]
    return entries, empty, ignored


def _scan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and files in a folder, sorted by name, without hidden ones and what systems leave behind."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as found:
            for item in found:
                if item.name.startswith((".", "__MACOSX", "__pycache__")) or item.name.lower() in _JUNK:
                    continue
                (folders if item.is_dir() else files).append(item.name)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read: {error.strerror}") from error
    return [folder / name for name in sorted(folders)], [folder / name for name in sorted(files)]


def _holds_images(folder: Path) -> bool:
    folders, files = _scan(folder)
    return _images(files) > 0 or any(_holds_images(inner) for inner in folders)


def _images(files: Iterable[Path]) -> int:
    return sum(file.suffix.lower() in SUFFIXES for file in files)

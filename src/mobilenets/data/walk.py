"""`scan` and `walk` list the files below a folder. Every reader finds its files here, so all readers skip the same files.

Hidden files and the files that operating systems leave behind are skipped silently. Links are followed, but never back into
a folder above them. Pipes, devices and unreadable folders are skipped and reported.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilenets.data.faults import Fault
from mobilenets.errors import DataError

SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm",
    ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
"""File name endings of the image formats that are read, in lower case."""

IMAGES = frozenset((
    "images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb", "input", "inputs", "original", "originals",
))  # fmt: skip
"""Usual names of a folder of images, in lower case."""

_JUNK_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"))
_JUNK_FOLDERS = frozenset((
    "__macosx", "__pycache__", "$recycle.bin", "system volume information", "lost+found",
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",  # of network drives
))  # fmt: skip
_MOST_LINKS = 8  # times that one folder is entered through links; without a limit, links among n folders give n! paths
_DEEPEST = 64  # folders inside folders


@dataclass(frozen=True, slots=True)
class Folder:
    """The content of one folder: sorted names.

    Args:
        path: the folder's path relative to the scanned folder, with slashes; "" for the scanned folder itself.
        files: regular files, and links that lead nowhere (a missing image is reported later).
        folders: the folders that are scanned too.
        faults: what was skipped.
    """

    path: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


class Tree:
    """All files below a folder, as one scan found them.

    Args:
        root: the folder; paths inside the tree are relative to it and have slashes.
        folders: its folders by path, the root ("") first.
    """

    def __init__(self, root: Path, folders: Mapping[str, Folder]) -> None:
        self.root = root
        self.folders = folders
        self.faults = tuple(fault for folder in folders.values() for fault in folder.faults)
        self._by_suffix: dict[str, list[str]] = {}
        self._spelled: dict[str, dict[str, str]] = {}  # of each folder that was asked for: names by how they are compared
        for folder in folders.values():
            for name in folder.files:
                self._by_suffix.setdefault(suffix_of(name), []).append(below(folder.path, name))

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return folder in self.folders and name in self.folders[folder].files

    def files(self, folder: str = "", *, suffixes: frozenset[str] | None = None) -> list[str]:
        """The files in a folder and in all folders below it, folder by folder."""
        prefix = f"{folder}/" if folder else ""
        inside = (inner for path, inner in self.folders.items() if path == folder or path.startswith(prefix))
        paths = (below(inner.path, name) for inner in inside for name in inner.files)
        return [path for path in paths if suffixes is None or suffix_of(path) in suffixes]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """All files with one of these endings, which are given in lower case."""
        return [path for suffix in suffixes for path in self._by_suffix.get(suffix, ())]

    def images(self, folder: str = "") -> list[str]:
        """The image files in a folder and in all folders below it, recognized by their endings."""
        return self.files(folder, suffixes=SUFFIXES)

    def inner(self, folder: str = "") -> dict[str, str]:
        """The paths of the folders in a folder, by their names in lower case."""
        return {name.lower(): below(folder, name) for name in self.folders[folder].folders}

    def child(self, folder: str, name: str) -> str | None:
        """The file or folder in a folder that has this name, in any case and form of accents; None if there is none."""
        holder = self.folders.get(folder)
        if holder is None:
            return None
        if name in holder.files or name in holder.folders:
            return below(folder, name)
        if folder not in self._spelled:
            names = (*holder.files, *holder.folders)
            self._spelled[folder] = {alike(spelling): spelling for spelling in reversed(names)}
        spelling = self._spelled[folder].get(alike(name))
        return None if spelling is None else below(folder, spelling)

    def resolved(self, path: str) -> str | None:
        """The file or folder at a path whose upper and lower case may be wrong; None if there is none."""
        if path in self or path in self.folders:
            return path
        reached = ""
        for name in path.split("/"):
            inner = self.child(reached, name)
            if inner is None:
                return None
            reached = inner
        return reached

    def counts(self) -> dict[str, int]:
        """The number of files with each ending, the most frequent first."""
        return {suffix: len(paths) for suffix, paths in sorted(self._by_suffix.items(), key=lambda item: -len(item[1]))}


def scan(root: Path, *, only: frozenset[str] | None = None) -> Tree:
    """The tree below a folder.

    Args:
        root: the folder.
        only: names, in lower case, of the folders in it that are scanned; all by default.

    Raises:
        DataError: the folder itself cannot be read.
    """
    folders = {folder.path: folder for folder in walk(root, only=only)}
    unreadable = next((fault for fault in folders[""].faults if fault.code == "unreadable-folder" and fault.file == "."), None)
    if unreadable is not None:
        raise DataError(f"'{root}' {unreadable.message}")
    return Tree(root, folders)


def walk(root: Path, *, only: frozenset[str] | None = None) -> Iterator[Folder]:
    """The folder and all folders below it, parents first and in the order of their names; `only` is as for `scan`."""
    entered: dict[tuple[int, int], int] = {}
    pending: list[tuple[str, frozenset[tuple[int, int]], bool]] = [("", frozenset(), False)]
    while pending:
        path, above, linked = pending.pop()
        absolute = os.path.join(root, path) if path else os.fspath(root)  # noqa: PTH118  # no Path per folder
        try:
            status = os.stat(absolute)  # noqa: PTH116
            key = status.st_dev, status.st_ino
            with os.scandir(absolute) as items:
                folder, links = _sorted(path, items)
        except OSError as error:
            yield Folder(path, (), (), (Fault("unreadable-folder", f"cannot be read: {error.strerror or error}", path or "."),))
            continue
        entered[key] = entered.get(key, 0) + 1
        followed, faults = [], list(folder.faults)
        for name in folder.folders:
            if only is not None and not path and name.lower() not in only:
                continue
            inner = below(path, name)
            tried = linked or name in links  # behind a link, even a plain folder may contain itself
            reason = _loop(os.path.join(absolute, name), above | {key}, entered) if tried else ""  # noqa: PTH118
            if inner.count("/") >= _DEEPEST:
                reason = f"is more than {_DEEPEST} folders deep and is left out"
            if reason:
                faults.append(Fault("link-loop", reason, inner))
            else:
                followed.append(name)
        yield Folder(path, folder.files, tuple(followed), tuple(faults))
        pending += [(below(path, name), above | {key}, linked or name in links) for name in reversed(followed)]


def below(folder: str, name: str) -> str:
    """The path of a file or folder inside a folder."""
    return f"{folder}/{name}" if folder else name


def alike(name: str) -> str:
    """A name as it is compared with others: in lower case, and with accents as part of their letters.

    macOS, and archives made there, store an accent as a character of its own; other systems do not.

    >>> alike("Caf\u00e9.JPG") == alike("cafe\u0301.jpg")
    True
    """
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.lower())


def suffix_of(path: str) -> str:
    """The ending of a file's name in lower case, with its dot; "" for none.

    >>> suffix_of("a/b.tar.GZ"), suffix_of("a.b/c")
    ('.gz', '')
    """
    return os.path.splitext(path)[1].lower()  # noqa: PTH122  # no Path per file


def stem_of(path: str) -> str:
    """The name of a file without its folders and ending.

    >>> stem_of("a/b.tar.gz")
    'b.tar'
    """
    return os.path.splitext(path.rpartition("/")[2])[0]  # noqa: PTH122  # no Path per file


def _sorted(path: str, items: Iterator[os.DirEntry[str]]) -> tuple[Folder, frozenset[str]]:
    """A folder's files and folders by name, and which of the folders are links."""
    files, folders, links, faults = [], [], set(), []
    for item in items:
        name = item.name
        if name.startswith("."):
            continue
        if _holds(item.is_dir):
            if name.lower() not in _JUNK_FOLDERS:
                folders.append(name)
                if item.is_symlink():
                    links.add(name)
        elif name.lower() in _JUNK_FILES:
            continue
        elif _holds(item.is_file) or item.is_symlink():
            files.append(name)
        else:
            faults.append(Fault("special-file", "is a pipe, socket or device, not a file, and is left out", below(path, name)))
    return Folder(path, tuple(sorted(files)), tuple(sorted(folders)), tuple(faults)), frozenset(links)


def _holds(of_item: Callable[[], bool]) -> bool:
    """What a question about an item is answered with; False for a link that leads to itself, which has no answer."""
    try:
        return of_item()
    except OSError:
        return False


def _loop(path: str, above: frozenset[tuple[int, int]], entered: Mapping[tuple[int, int], int]) -> str:
    """Why a link is not followed; "" if it is."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""  # reported when it is entered
    key = status.st_dev, status.st_ino
    if key in above:
        return "leads back to a folder above it and is not followed"
    return (
        f"leads to a folder that was entered {_MOST_LINKS} times already and is not followed"
        if entered.get(key, 0) >= _MOST_LINKS
        else ""
    )

"""Writes files and folders atomically: as a draft under another name, which is renamed once it is complete."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from mobilenets.errors import UsageError

STARTS: dict[bytes, tuple[str, str]] = {
    b"version https://": ("a pointer of Git LFS", "fetch the files: git lfs pull"),
    b"<!doctype html": ("a web page", "download it again; the server sent an error or asked for a login"),
    b"<html": ("a web page", "download it again; the server sent an error or asked for a login"),
    b"\x1f\x8b": ("a gzip archive", "unpack it: gunzip, or tar xf"),
    b"bzh": ("a bzip2 archive", "unpack it: bunzip2, or tar xf"),
    b"\xfd7zxz\0": ("an xz archive", "unpack it: unxz, or tar xf"),
    b"(\xb5/\xfd": ("a Zstandard archive", "unpack it: unzstd"),
    b"7z\xbc\xaf'\x1c": ("a 7-Zip archive", "unpack it: 7z x"),
    b"rar!\x1a\x07": ("a RAR archive", "unpack it: unrar x"),
}
"""Beginnings, in lower case, of files found in place of the expected one: what each is, and what to do."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
_HELD: dict[object, int] = {}  # locks in this process: open files of places that it holds or waits for
_KEPT = 40  # characters of a name used in its draft's name, which must not be too long for the file system


def stand_in(head: bytes) -> tuple[str, str] | None:
    """What a file found in place of the expected one is, and what to do about it; None if it does not look like that.

    Args:
        head: at least its first 16 bytes.
    """
    start = head.lstrip().lower()
    return next((told for sign, told in STARTS.items() if start.startswith(sign)), None)


def check_folder(folder: str | Path) -> None:
    """Check that a folder is not the address of a store, which would create a local folder with that name.

    Raises:
        UsageError: it is such an address.
    """
    scheme = _SCHEME.match(str(folder))
    if scheme is not None:  # a `Path` drops one slash
        raise UsageError(
            f"'{scheme[1]}://{str(folder)[scheme.end() :].lstrip('/')}' is an address, not a folder of this machine",
            hint="write into a folder and copy it; only 'predict --engine ray' writes to stores",
        )


def check_writable(folder: Path) -> None:
    """Check that a folder can be created or written, before computing its content.

    Raises:
        OSError: it is not writable.
        UsageError: it is a file, is inside one, or is the address of a store.
    """
    check_folder(folder)
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    if not nearest.exists():
        raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(nearest))
    if not nearest.is_dir():
        inside = "" if nearest == folder else f"'{folder}' cannot be created: "
        raise UsageError(f"{inside}'{nearest}' is a file, not a folder", hint="name a new folder, or one that is there")
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code), str(nearest))


def check_own(folder: Path, known: str) -> None:
    """Check that a folder can be written, and contains only earlier results of the same command.

    Otherwise results could be written among the images of a dataset, and be read as its images and classes.

    Args:
        folder: the folder to write to.
        known: name of a file in every folder that the command has written.

    Raises:
        OSError: see `check_writable`.
        UsageError: see `check_writable`; also if the folder contains other things.
    """
    check_writable(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / known).is_file():
        raise UsageError(f"'{folder}' holds something other than a report", hint="--out with a new folder")


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A path to write to instead of `path`, in the same folder.

    When the block ends, the draft is flushed to disk and replaces `path` in one step. If the block raises, the draft is removed
    and `path` stays unchanged. So a reader never finds half a file, even if the program is killed or the power fails.

    Args:
        path: the final path; its folder is created. A device or a pipe, such as /dev/stdout, is written to directly.

    Raises:
        OSError: the file cannot be written.
    """
    with drafted_quickly(path) as draft:
        yield draft
        if draft != path.resolve():
            _flush(draft)


@contextmanager
def drafted_quickly(path: Path) -> Iterator[Path]:
    """As `drafted`, without the flush, for one of very many files: safe if the program is killed, but not on power failure.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()  # a symbolic link keeps pointing to the file
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path, f"{os.getpid()}-{threading.get_ident()}.new")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file of these bytes, and create the folders above it.

    Raises:
        OSError: it cannot be written.
    """
    with drafted(path) as draft:
        draft.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file of this text without changing line ends, and create the folders above it.

    Bytes of file names that are not UTF-8, which Python keeps as surrogates, are written as those bytes.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


@contextmanager
def drafted_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill. It becomes `folder` when the block ends, and is removed if the block raises.

    This is safe if the program is killed. Unlike a file's draft, the folder, which may be large, is not flushed to disk.

    Args:
        folder: a folder that does not exist yet, or is empty.

    Raises:
        OSError: `folder` is not empty, is a file, or cannot be written.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    stays = folder.is_dir() and (not os.access(folder.parent, os.W_OK) or folder.samefile("."))  # a shell's working directory
    inside = folder.is_mount() or stays  # it cannot be renamed
    draft = folder / ".new" if inside else _beside(folder, f"{os.getpid()}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        if inside:
            for item in sorted(draft.iterdir()):
                item.rename(folder / item.name)
            draft.rmdir()
        else:
            if folder.is_dir():
                folder.rmdir()  # raises if it is not empty
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill. It replaces `folder`, whatever that contains, when the block ends.

    If the block raises, `folder` stays unchanged. Between the two renames at the end of the block, the old content is beside
    it; `settled` finds it.

    Raises:
        OSError: the folder cannot be written, or is a file.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    new, old = _beside(folder, "new"), _old(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if old.is_dir() and not folder.exists():  # the program was killed between the two renames below
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        flush(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def settled(folder: Path) -> Path:
    """Where the content of `folder` is, even if the program was killed while it replaced the folder."""
    return folder if folder.exists() or not _old(folder).is_dir() else _old(folder)


@contextmanager
def scratch_folder(path: Path, ending: str) -> Iterator[Path]:
    """A temporary folder beside the file `path`, for drafts that are tested first; it is always deleted afterwards.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = _beside(path, ending)
    shutil.rmtree(folder, ignore_errors=True)  # left by a program that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Lock a place: wait until no other process or thread holds it, and hold it until the block ends.

    Killing the process releases the lock.
    Systems and file systems without `flock` have no locks: there, nobody waits.

    Args:
        place: an existing file or folder.

    Raises:
        OSError: it cannot be opened.
    """
    with _opened(place) as handle:
        if handle is not None:
            import fcntl

            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def claimed(place: Path) -> Iterator[bool]:
    """Try to lock a place until the block ends, without waiting; false if another process or thread holds it. See `alone`.

    If another process is just removing or replacing the place, that process counts as its holder.
    """
    with _opened(place) as handle:
        free = True
        if handle is not None:
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = os.path.samestat(os.fstat(handle), place.stat())
            except OSError as error:
                free = not isinstance(error, (BlockingIOError, FileNotFoundError))
        yield free


def flush(folder: Path) -> None:
    """Flush everything in a folder from the operating system's cache to disk.

    Raises:
        OSError: the disk is full or fails.
    """
    for inner, _, names in os.walk(folder):
        for name in names:
            file = Path(inner, name)
            if not file.is_symlink():
                _flush(file)
        _flush_folder(Path(inner))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name[:_KEPT]}.{ending}")


def _old(folder: Path) -> Path:
    return _beside(folder.absolute(), "old")


@contextmanager
def _opened(place: Path) -> Iterator[int | None]:
    """An open file descriptor of a place; None if a folder cannot be opened."""
    if os.name != "posix":
        yield None
        return
    _keep_from_forks()
    key = object()
    handle = _HELD[key] = os.open(place, os.O_RDONLY)
    try:
        yield handle  # closing it releases the lock
    finally:
        if key in _HELD:  # otherwise this is a fork
            del _HELD[key]
            os.close(handle)


@cache
def _keep_from_forks() -> None:
    """A lock lasts until every process with the open file ends: workers would hold it after the main process was killed."""

    def let_go() -> None:
        for handle in _HELD.values():
            os.close(handle)
        _HELD.clear()

    os.register_at_fork(after_in_child=let_go)


def _flush(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

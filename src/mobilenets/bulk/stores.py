"""Files in folders and object stores, by their fsspec addresses: `s3://bucket/photos`, `gs://...`, or a path."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobilenets import files
from mobilenets.data.readers.members import is_mask
from mobilenets.data.walk import SUFFIXES, suffix_of, walk
from mobilenets.errors import DataError, MissingExtraError, MobileNetsError, UsageError
from mobilenets.runtime.engines.base import first_line

TAR = ".tar"


@dataclass(frozen=True, slots=True)
class Held:
    """A file in memory, or the reason why it could not be read.

    Args:
        name: its path or address; for a member of a tar file, both.
        data: its bytes.
        error: why there are none; "" if there are.
    """

    name: str
    data: bytes = b""
    error: str = ""

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: it could not be read.
        """
        if self.error:
            raise OSError(self.error)
        return self.data


def is_address(source: str) -> bool:
    """Whether a source is an address in a store instead of a path.

    >>> is_address("s3://bucket/photos"), is_address("photos")
    (True, False)
    """
    return "://" in source


def system_of(address: str) -> tuple[Any, str]:  # Any: fsspec has no types
    """The file system for an address, and the path in it.

    Raises:
        UsageError: no store has this kind of address.
        MobileNetsError: the library for the store is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "ray") from error
    try:
        # A cached listing would miss what workers have written since.
        system, path = url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        package = getattr(error.__cause__ or error, "name", None)  # of the module that fsspec tried to import
        if not package:
            raise MobileNetsError(f"'{address}': {first_line(error)}") from error
        raise MobileNetsError(
            f"'{address}' needs '{package}', which is not installed", hint=f"pip install {package}"
        ) from error
    except ValueError as error:
        raise UsageError(f"'{address}' is not the address of a store: {first_line(error)}") from error
    return system, str(path)


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """A file opened for reading at any position.

    Raises:
        OSError: it cannot be read.
    """
    system, path = system_of(address)
    try:
        with system.open(path, "rb") as file:
            yield file
    except (OSError, MobileNetsError):
        raise
    except Exception as error:  # the libraries of object stores have no common base class for errors
        raise OSError(first_line(error)) from error


def read(address: str) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with opened(address) as file:
        return file.read()


def found(source: str) -> list[str]:
    """The images and tar files at a source, sorted: a file, everything below a folder, or everything that matches a pattern.

    Raises:
        DataError: there are none, or the store denies access.
    """
    try:
        names = sorted(_found(source))
    except MobileNetsError:
        raise
    except Exception as error:  # as in `opened`
        raise DataError(f"'{source}' cannot be listed: {first_line(error)}") from error
    if not names:
        raise DataError(f"'{source}' has no images", hint="a folder, a tar file, or an address such as s3://bucket/photos/")
    return names


def members(shard: str) -> Iterator[Held]:
    """The images in a tar file, in its order, without masks of a dataset (`key.mask.png`).

    If the tar file is truncated, the last item reports that, under the name of the file.
    """
    try:
        with opened(shard) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                if member.isfile() and suffix_of(member.name) in SUFFIXES and not is_mask(member.name):
                    content = tar.extractfile(member)
                    yield Held(f"{shard}/{member.name}", content.read() if content is not None else b"")
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:  # images read before the error are kept
        yield Held(shard, error=f"it cannot be read to its end: {first_line(error)}")


def join(folder: str, name: str) -> str:
    """The address of a file inside a folder."""
    return f"{folder.rstrip('/')}/{name}"


def is_same(one: str, other: str) -> bool:
    """Whether two paths or addresses refer to the same place.

    >>> is_same("s3://bucket/photos/", "s3://bucket/photos"), is_same("photos", "./photos/"), is_same("photos", "answers")
    (True, True, False)
    """
    if is_address(one) or is_address(other):
        return one.rstrip("/") == other.rstrip("/")
    return Path(one).resolve() == Path(other).resolve()


def names_in(folder: str) -> set[str]:
    """The names of the files in a folder; none if it does not exist.

    Raises:
        DataError: the store denies access.
    """
    system, path = system_of(folder)
    try:
        listed = system.ls(path, detail=False)
    except FileNotFoundError:
        return set()
    except Exception as error:  # as in `opened`
        raise DataError(f"'{folder}' cannot be listed: {first_line(error)}") from error
    return {str(name).rstrip("/").rsplit("/", 1)[-1] for name in listed}


def write(address: str, data: bytes) -> None:
    """Write a whole file: on a disk by renaming a draft, in a store by one upload, which becomes visible once complete.

    Raises:
        DataError: it cannot be written.
    """
    try:
        if not is_address(address):
            files.write_bytes(Path(address), data)
            return
        system, path = system_of(address)
        system.pipe_file(path, data)
    except MobileNetsError:
        raise
    except Exception as error:  # as in `opened`
        raise DataError(f"'{address}' cannot be written: {first_line(error)}") from error


def _found(source: str) -> list[str]:
    if not is_address(source):
        return _below(Path(source))
    system, path = system_of(source)
    if any(sign in path for sign in "*?["):
        paths = system.glob(path)
    elif system.isfile(path):
        paths = [path]
    else:
        paths = system.find(path)
    return [str(system.unstrip_protocol(name)) for name in paths if _is_wanted(str(name))]


def _below(path: Path) -> list[str]:
    if path.is_dir():
        inside = (folder for folder in walk(path))
        return [str(path / folder.path / name) for folder in inside for name in folder.files if _is_wanted(name)]
    if not path.exists():
        raise DataError(f"there is no '{path}'")
    return [str(path)]


def _is_wanted(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and (suffix_of(name) in SUFFIXES or suffix_of(name) == TAR)

"""`Located`: the location of a file's bytes: on disk, inside a tar file, or on a web server."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Located:
    """A file that can be read.

    Args:
        path: the file, or the tar file that contains it.
        member: offset and size in bytes inside `path`, if that is a tar file.
        url: the address of `path` on a web server, of which `path` is only the name; "" for a local file.
        checksum: checksum of a member of a tar file on a web server, to detect changed bytes; "" if unknown.
        name: the member's name, for messages.
    """

    path: Path
    member: tuple[int, int] | None = None
    url: str = ""
    checksum: str = ""
    name: str = ""

    @property
    def shown(self) -> str:
        """The file's name in messages."""
        return self.name or str(self.path)

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ConnectionError: the server that has it cannot be reached, or sends other bytes than when it was indexed.
            OSError: the file does not exist or cannot be read.
        """
        if self.url and self.member is not None:
            from mobilenets.data.remote_cache import read_member

            return read_member(self.url, *self.member, self.checksum)
        if self.url:
            from mobilenets.data import remote

            return remote.read(self.url)
        with opened(self.path) as file:
            if self.member is None:
                return file.read()
            offset, size = self.member
            file.seek(offset)
            return file.read(size)


def opened(path: Path) -> BinaryIO:
    """A file, opened for reading. Pipes, devices and sockets are refused, because they could block forever.

    Raises:
        OSError: it does not exist, cannot be read, or is not a file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a null character
        raise OSError(errno.EINVAL, "no file can have such a name") from error
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(kind) else "it is a pipe, socket or device")
    return os.fdopen(handle, "rb")

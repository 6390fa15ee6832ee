"""Files on web servers, asked for whole or in part, with patience; what must lie on this machine is kept in a cache folder."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")

SCHEMES = ("http://", "https://")
WAITS_S = (0.1, 1.0, 3.0, 9.0)
"""Pauses before a server that does not answer, or says it is busy, is asked again."""

TIMEOUT_S = 30.0
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_HEAD = 512  # bytes that are asked for to learn of a file
_HEADERS = {"User-Agent": "mobilenets", "Accept-Encoding": "identity"}
_downloading = threading.Lock()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a server says of a file.

    Args:
        url: its address.
        length: size in bytes; -1 where the server does not say.
        version: changes when the file does: its ETag, else the time of its last change; empty where the server says neither.
        ranges: whether the server gives parts of it.
    """

    url: str
    length: int
    version: str
    ranges: bool


class _Connections(threading.local):
    """Connections that a thread keeps open, by scheme and host; a forked process begins with none."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._kept: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        """The one to a host; it opens itself when it is used."""
        if self._process != os.getpid():
            self._process, self._kept = os.getpid(), {}
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        if (scheme, host) not in self._kept:
            self._kept[scheme, host] = kind(host, timeout=TIMEOUT_S)
        return self._kept[scheme, host]


_mine = _Connections()


def is_remote(source: str) -> bool:
    """Whether a source is the address of a file on a web server."""
    return source.startswith(SCHEMES)


def file_name(url: str) -> str:
    """What follows the last slash of the address's path.

    >>> file_name("https://host/shards/a-000.tar?token=x")
    'a-000.tar'
    """
    path = url.partition("?")[0].partition("#")[0]
    return urllib.parse.unquote(path.rpartition("/")[2])


def ask(url: str) -> RemoteFile:
    """What the server says of a file.

    Raises:
        ConnectionError: the server cannot be reached.
        OSError: there is no such file, or it is not for everybody.
    """

    def answer() -> RemoteFile:
        with _open(url, 0, _HEAD - 1) as response:
            headers, ranges = response.headers, response.status == http.client.PARTIAL_CONTENT
            length = headers.get("Content-Range", "").rpartition("/")[2] if ranges else headers.get("Content-Length", "")
            version = headers.get("ETag") or headers.get("Last-Modified") or ""
            return RemoteFile(url, int(length) if length.isdecimal() else -1, version, ranges and length.isdecimal())

    return _patiently(answer, again=2)


def read(url: str, member: tuple[int, int] | None = None) -> bytes:
    """A file, or the part of it at an offset, of a size in bytes.

    Where the server does not give parts, the file is downloaded once into the cache folder and read there.

    Raises:
        ConnectionError: the server cannot be reached, after several attempts.
        OSError: there is no such file, or it cannot be kept.
    """
    if member is None:
        return _patiently(lambda: _body(url))
    offset, size = member
    copy = cache_file(url, ".tar")
    if not copy.is_file() and size:
        part = _patiently(lambda: _part(url, offset, size))
        if part is not None:
            return part
        copy = download(url)
    with copy.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def download(url: str) -> Path:
    """The file in the cache folder, downloaded where it is not there.

    Raises:
        ConnectionError, OSError: as `read`.
    """
    target = cache_file(url, ".tar")
    with _downloading:
        if target.is_file():
            return target
        new = target.with_name(f"{target.name}.{os.getpid()}")

        def fetch() -> None:
            with _open(url) as response, new.open("wb") as file:
                shutil.copyfileobj(response, file, 1 << 20)
                length = response.headers.get("Content-Length", "")
                if length.isdecimal() and file.tell() != int(length):
                    raise http.client.IncompleteRead(b"", int(length) - file.tell())

        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _patiently(fetch)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    return target


def cache_file(url: str, suffix: str) -> Path:
    """Where something about an address is kept: in `mobilenets` in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(root) / "mobilenets" / "shards" / (hashlib.sha256(url.encode()).hexdigest()[:32] + suffix)


class Stream:
    """A file of a server that gives parts, read from front to back; a connection that breaks is taken up where it broke.

    Args:
        file: as `ask` found it.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0
        self._response: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            ConnectionError, OSError: as `remote.read`.
        """
        wanted = min(size, self._file.length - self._at)
        data = _patiently(lambda: self._next(wanted)) if wanted > 0 else b""
        self._at += len(data)
        return data

    def close(self) -> None:
        """End the connection."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _next(self, size: int) -> bytes:
        try:
            if self._response is None:
                response = self._response = _open(self._file.url, self._at, self._file.length - 1)
                if self._at and response.status != http.client.PARTIAL_CONTENT:
                    raise http.client.IncompleteRead(b"", size)
            data = self._response.read(size)
            if not data:
                raise http.client.IncompleteRead(b"", size)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return data


def _open(url: str, first: int | None = None, last: int | None = None) -> Any:  # Any: urlopen's own type
    span = {} if first is None else {"Range": f"bytes={first}-{last}"}
    return urllib.request.urlopen(urllib.request.Request(url, headers=_HEADERS | span), timeout=TIMEOUT_S)


def _body(url: str) -> bytes:
    with _open(url) as response:
        data: bytes = response.read()
        return data


def _part(url: str, offset: int, size: int) -> bytes | None:
    """The part, or None where the server answers with the whole file; over a connection that stays open where that can be."""
    address = urllib.parse.urlsplit(url)
    if address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(address.netloc):
        return _part_anew(url, offset, size)
    connection = _mine.connection(address.scheme, address.netloc)
    idle = connection.sock is not None
    try:
        target = urllib.parse.urlunsplit(("", "", address.path or "/", address.query, ""))
        connection.request("GET", target, headers={**_HEADERS, "Range": f"bytes={offset}-{offset + size - 1}"})
        response = connection.getresponse()
        if response.status == http.client.PARTIAL_CONTENT:
            return response.read()
        connection.close()
    except (OSError, http.client.HTTPException):
        connection.close()
        if not idle:
            raise
    return _part_anew(url, offset, size)  # moved elsewhere, not for everybody, or hung up meanwhile


def _part_anew(url: str, offset: int, size: int) -> bytes | None:
    with _open(url, offset, offset + size - 1) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            return None
        data: bytes = response.read()
        return data


def _patiently(attempt: Callable[[], T], *, again: int = len(WAITS_S)) -> T:
    """The attempt's result; one that the network or a busy server spoiled is made again."""
    reason = ""
    for wait in (*WAITS_S[:again], None):
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in _BUSY:
                raise OSError(reason) from error
        except (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
            reason = f"no answer from the server: {getattr(error, 'reason', None) or error}"
            if isinstance(error, http.client.InvalidURL):
                raise OSError(f"is no address: {error}") from error
        except ValueError as error:
            raise OSError(f"is no address: {error}") from error
        if wait is not None:
            time.sleep(wait)
    raise ConnectionError(reason)

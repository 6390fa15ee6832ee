"""Reads files on web servers, whole or in parts, through urllib3. Responses are checked against what was requested.

Importing urllib3 takes a tenth of a second, so this module is imported only inside functions that read from a server.
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError, NewConnectionError, ResponseError
from urllib3.util import parse_url

T = TypeVar("T")

TIMEOUT_S = 30.0
BACKOFF_S = 0.5
"""Pause before the third request to a server, in seconds; it doubles with each further one, up to 10."""

LEAST_RATE = 1_000
"""Bytes per second; a server that is slower than this over `PATIENCE_S` seconds is given up."""

PATIENCE_S = 30.0
MOST_BYTES = 1 << 30
"""Size of the largest file, or part of one, that is read into memory."""

_TRIES = 4
_REDIRECTS = 5
_LONGEST_WAIT_S = 60.0
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_PARTIAL = 206
_HEAD = 512  # bytes requested to learn about a file
_CHUNK = 1 << 20
_HEADERS = {"User-Agent": "mobilenets", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a server says about a file.

    Args:
        url: its address.
        length: size in bytes; -1 if the server does not say.
        version: its ETag, otherwise the time of its last change; empty if the server states neither.
        ranges: whether the server can send parts of it.
    """

    url: str
    length: int
    version: str
    ranges: bool


class _Retry(urllib3.Retry):
    """urllib3's retries, but a server cannot make the client wait for hours."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        wait = super().get_retry_after(response)
        return None if wait is None else min(wait, _LONGEST_WAIT_S)


class _Pools:
    """This process's open connections, one pool per proxy; a forked process starts without any."""

    def __init__(self) -> None:
        self._process = 0
        self._pools: dict[str, urllib3.PoolManager] = {}

    def pool(self, url: str) -> urllib3.PoolManager:
        if self._process != os.getpid():
            self._process, self._pools = os.getpid(), {}
        proxy = _proxy(url)
        if proxy not in self._pools:
            self._pools[proxy] = _pool_behind(proxy) if proxy else urllib3.PoolManager(maxsize=16)
        return self._pools[proxy]


_pools = _Pools()


def ask(url: str, *, timeout_s: float | None = None) -> RemoteFile:
    """What the server says about a file.

    Args:
        url: its address.
        timeout_s: give up after this time, without another try; by default the server is tried several times.

    Raises:
        ConnectionError: the server cannot be reached.
        OSError: there is no such file, or it may not be read.
    """
    tries = _TRIES if timeout_s is None else 0
    with _get(url, 0, _HEAD - 1, tries=tries, timeout_s=timeout_s or TIMEOUT_S) as response:
        span = _RANGE.fullmatch(response.headers.get("Content-Range", "")) if response.status == _PARTIAL else None
        length = span[3] if span else response.headers.get("Content-Length", "")
        return RemoteFile(url, int(length) if length.isdecimal() else -1, _version(response), bool(span) and length.isdecimal())


def read(url: str, *, most: int = MOST_BYTES) -> bytes:
    """The bytes of a whole file.

    Args:
        url: its address.
        most: most bytes; a larger file is refused.

    Raises:
        ConnectionError: the server cannot be reached, is too slow, or repeatedly breaks off.
        OSError: there is no such file, or it is too large.
    """
    return _again(lambda: b"".join(_whole(url, most)))


def read_part(url: str, offset: int, size: int) -> bytes | None:
    """Part of a file, or None if the server sends whole files only.

    Raises:
        ConnectionError: the server cannot be reached, is too slow, or sends a different part.
        OSError: there is no such file, or the part is too large.
    """
    if size > MOST_BYTES:
        raise OSError(f"has {size:,} bytes; at most {MOST_BYTES:,} are read at once")
    try:
        return b"".join(_ranged(url, offset, offset + size - 1, ""))
    except _NoRangesError:
        return None


def save(file: RemoteFile, path: Path, *, most: int, advance: Callable[[int], object] | None = None) -> None:
    """Download a file to `path`. After a broken connection, the download continues where it stopped if the server allows it.

    Args:
        file: the file, as `ask` returns it.
        path: the path to write, which is overwritten.
        most: most bytes; a larger file is refused.
        advance: called with the number of bytes after each chunk; negative when the file is read from its start again.

    Raises:
        ConnectionError, OSError: as `read`; also if the disk is full.
    """
    if file.length > most:
        raise OSError(f"the file has {file.length:,} bytes; the limit is {most:,}")
    if file.ranges:
        with path.open("wb") as target:
            for data in _ranged(file.url, 0, file.length - 1, file.version):
                target.write(data)
                if advance is not None:
                    advance(len(data))
        return

    def attempt() -> None:
        with path.open("wb") as target:
            try:
                for data in _whole(file.url, most):
                    target.write(data)
                    if advance is not None:
                        advance(len(data))
            except BaseException:
                if advance is not None:
                    advance(-target.tell())
                raise

    _again(attempt)


class Stream:
    """A file that the server can send in parts, read from start to end; after a broken connection, reading resumes there.

    Args:
        file: the file's description from `ask`.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._chunks = _ranged(file.url, 0, file.length - 1, file.version)
        self._left = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            ConnectionError, OSError: as `read_part`; also if the file changed since `ask`.
        """
        data = self._left or next(self._chunks, b"")
        self._left = data[size:]
        return data[:size]

    def close(self) -> None:
        """End the connection."""
        self._chunks.close()


class _NoRangesError(Exception):
    """The server answers a request for a part with the whole file."""


def _ranged(url: str, first: int, last: int, version: str) -> Generator[bytes, None, None]:
    """The bytes from `first` to `last`; after a broken connection, the rest is requested again."""
    at, failures = first, 0
    while at <= last:
        try:
            with _get(url, at, last) as response:
                if response.status != _PARTIAL:
                    raise _NoRangesError
                _check_part(url, response, at, last, version)
                for data in _body(response, last + 1 - at):
                    at, failures = at + len(data), 0
                    yield data
            failures += 1
            reason = "the server sends less than it was asked for"
        except HTTPError as error:
            failures, reason = failures + 1, _words(error)
        if at <= last:
            _give_up_or_wait(failures, reason)


def _whole(url: str, most: int) -> Iterator[bytes]:
    received = 0
    with _get(url) as response:
        for data in _body(response, most + 1):
            received += len(data)
            if received > most:
                raise OSError(f"the file has more than {most:,} bytes, which is the limit")
            yield data


def _again(attempt: Callable[[], T]) -> T:
    """The result of an attempt; a download that breaks off is restarted."""
    failures = 0
    while True:
        try:
            return attempt()
        except HTTPError as error:
            failures += 1
            _give_up_or_wait(failures, _words(error))


def _give_up_or_wait(failures: int, reason: str) -> None:
    if failures > _TRIES:
        raise ConnectionError(reason)
    time.sleep(min(BACKOFF_S * 2 ** (failures - 1), 10) if failures > 1 else 0)


def _body(response: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
    """The response's bytes as they arrive, up to `most`; a server that is too slow is given up."""
    received, waited = 0, 0.0
    while received < most:
        begun = time.monotonic()
        data = response.read1(min(_CHUNK, most - received), decode_content=False)
        waited += time.monotonic() - begun
        received += len(data)
        if not data:
            return
        if waited > PATIENCE_S and received < LEAST_RATE * waited:
            raise ConnectionError(f"the server is too slow: {received:,} bytes in {waited:.0f} s")
        yield data


def _retries(tries: int) -> _Retry:
    return _Retry(
        None,
        connect=min(tries, 2),
        read=tries,
        status=tries,
        other=tries,
        redirect=_REDIRECTS,
        status_forcelist=_BUSY,
        raise_on_status=False,
        backoff_factor=BACKOFF_S,
        backoff_max=10,
    )


def _get(
    url: str, first: int = 0, last: int = -1, *, tries: int = _TRIES, timeout_s: float = TIMEOUT_S
) -> urllib3.BaseHTTPResponse:
    """The server's response with its body unread. Busy servers are retried, and redirects are followed."""
    part = {"Range": f"bytes={first}-{last}"} if last >= 0 else {}
    timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
    try:
        login = parse_url(url).auth
        headers = _HEADERS | part | (urllib3.make_headers(basic_auth=login) if login else {})
        pool = _pools.pool(url)
        response = pool.request("GET", url, headers=headers, preload_content=False, retries=_retries(tries), timeout=timeout)
    except MaxRetryError as error:
        if isinstance(error.reason, ResponseError):
            raise OSError(f"the server redirects again and again: {error.reason}") from error
        raise ConnectionError(f"no answer from the server: {_words(error.reason or error)}") from error
    except (LocationParseError, ValueError) as error:
        raise OSError(f"it is not a valid address: {error}") from error
    except HTTPError as error:
        raise ConnectionError(f"no answer from the server: {_words(error)}") from error
    if response.status not in (200, _PARTIAL):
        response.close()
        words = f"the server answers {response.status} {response.reason or ''}".rstrip()
        raise ConnectionError(words) if response.status in _BUSY else OSError(words)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise OSError(f"the server compresses the file ({response.headers['Content-Encoding']}), though it was asked not to")
    return response


def _check_part(url: str, response: urllib3.BaseHTTPResponse, first: int, last: int, version: str) -> None:
    """Raise if the response is another part than requested, or belongs to another version of the file."""
    content_range = response.headers.get("Content-Range", "")
    span = _RANGE.fullmatch(content_range)
    if span is None or int(span[1]) != first or not first <= int(span[2]) <= last:
        response.close()
        raise ConnectionError(f"the server was asked for the bytes {first}-{last} of '{url}', but sends '{content_range}'")
    now = _version(response)
    if version and now and now != version:
        response.close()
        raise ConnectionError(f"'{url}' changed on its server while it was being read")


def _version(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _proxy(url: str) -> str:
    """The address of the proxy that this machine uses for a URL; "" for none."""
    address = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all") or ""
    return "" if not proxy or urllib.request.proxy_bypass(address.netloc) else proxy


def _pool_behind(proxy: str) -> urllib3.PoolManager:
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, maxsize=16, proxy_headers=headers)


def _words(error: BaseException) -> str:
    """urllib3's message, without the object at its beginning."""
    if isinstance(error, NewConnectionError) and error.__cause__ is not None:
        return str(error.__cause__)
    return re.sub(r"^(<[^>]*>|\w+\(host=[^)]*\)): ", "", str(error))

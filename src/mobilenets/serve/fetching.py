"""Fetches images by address: only from configured places, without redirects, within the server's limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import urllib3
from urllib3.util import Url, parse_url

from mobilenets.errors import UsageError
from mobilenets.serve.limits import Limits, Share
from mobilenets.serve.refusal import RefusedError

if TYPE_CHECKING:
    from mobilenets.serve.bodies import Buffer

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """A place from which images may be fetched.

    Args:
        scheme: "http" or "https".
        host, port: the server.
        path: prefix of the addresses; it ends with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    def holds(self, address: Url) -> bool:
        """Whether a normalized address is in this place."""
        path = address.path or "/"
        return (
            (address.scheme, address.host, address.port or _PORTS.get(address.scheme or ""))
            == (self.scheme, self.host, self.port)
            and address.auth is None
            and path.startswith(self.path)
            and not any(dots in path.lower() for dots in ("..", "%2e", "\\", "%2f", "%5c"))
        )


def place_of(text: str) -> Place:
    """The place that a user specified, such as `https://example.org/photos/`.

    Raises:
        UsageError: it is not valid.
    """
    try:
        address = parse_url(text)
    except urllib3.exceptions.LocationParseError as error:
        raise UsageError(f"'{text}' is not a URL: {error}") from error
    scheme, host = address.scheme or "", address.host or ""
    if scheme not in _PORTS or not host or address.query is not None or not text.endswith("/"):
        raise UsageError(
            f"'{text}' is not an address to fetch images from", hint="give a full one: https://example.org/photos/"
        )
    return Place(scheme, host, address.port or _PORTS[scheme], address.path or "/")


def origin_of(text: str) -> str:
    """The origin of a web site that a user specified, in the form that browsers send: `https://example.org`; `*` is any site.

    >>> origin_of("https://Example.org:443"), origin_of("http://localhost:3000"), origin_of("*")
    ('https://example.org', 'http://localhost:3000', '*')

    Raises:
        UsageError: it is not an origin, or is more than one.
    """
    if text == "*":
        return text
    try:
        address = parse_url(text)
    except urllib3.exceptions.LocationParseError as error:
        raise UsageError(f"'{text}' is not a URL: {error}") from error
    scheme, host = address.scheme or "", address.host or ""
    if scheme not in _PORTS or not host or text.rstrip("/") != text or address.path or address.query or address.auth:
        hint = "scheme, host and port alone, as browsers name it: https://example.org, http://localhost:3000"
        raise UsageError(f"'{text}' is not the origin of a website", hint=hint)
    port = "" if address.port in (None, _PORTS[scheme]) else f":{address.port}"
    return f"{scheme}://{host}{port}"


class _Addresses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    urls: list[str]


def addresses_of(body: Buffer, places: Sequence[Place], *, most: int) -> list[str]:
    """The addresses in a request's JSON, normalized.

    Raises:
        RefusedError: there are none or too many, or one is not in any of the places.
    """
    if not places:
        raise RefusedError("urls", "images on the web are not fetched; send the image itself: curl --data-binary @photo.jpg")
    try:
        given = msgspec.json.decode(body, type=_Addresses).urls
    except (ValueError, RecursionError) as error:
        raise RefusedError("request", f'the body is not {{"urls": ["https://..."]}}: {error}') from error
    if not given:
        raise RefusedError("request", "the list of addresses is empty")
    if len(given) > most:
        raise RefusedError("images", f"at most {most} images are accepted at once")
    return [_allowed(text, places) for text in given]


async def fetched(addresses: Sequence[str], limits: Limits, share: Share, *, deadline: float) -> list[bytes | RefusedError]:
    """The images at the addresses, in order, or the reason why one is unavailable.

    Args:
        addresses: as returned by `addresses_of`.
        limits: the server's limits; all images together may have as many bytes as a body.
        share: counts the request's bytes.
        deadline: in the time of `time.monotonic`.

    Raises:
        RefusedError: they are too large, or too late.
    """

    async def one(address: str) -> bytes | RefusedError:
        try:
            data = await asyncio.to_thread(_fetched, address, limits.size_bytes, deadline)
        except RefusedError as error:
            if error.reason != "image":
                raise
            return error
        if share.size_bytes + len(data) > limits.size_bytes:
            raise RefusedError("bytes", f"the images have more than {limits.size_bytes:,} bytes, which is the limit")
        share.take(len(data))
        return data

    return await asyncio.gather(*(one(address) for address in addresses))


def _allowed(text: str, places: Sequence[Place]) -> str:
    try:
        address = parse_url(text)
    except urllib3.exceptions.LocationParseError as error:
        raise RefusedError("request", f"{text[:80]!r} is not a URL") from error
    if not any(place.holds(address) for place in places):
        raise RefusedError("urls", f"images are not fetched from {text[:80]!r}")
    return address._replace(fragment=None).url


def _fetched(address: str, most: int, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise RefusedError("late", "the images were not fetched in time")
    try:
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=left)) as pool:
            response = pool.request("GET", address, redirect=False, preload_content=False)
            parts = _parts(response, address, most, deadline)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise RefusedError("image", f"it cannot be fetched: {type(error).__name__}") from error
    return parts


def _parts(response: urllib3.BaseHTTPResponse, address: str, most: int, deadline: float) -> bytes:
    if response.status != 200:
        raise RefusedError("image", f"it cannot be fetched: its server answers {response.status}")
    data = bytearray()
    for part in response.stream(1 << 16):
        data += part
        if len(data) > most:
            raise RefusedError("bytes", f"'{address[:80]}' has more than {most:,} bytes, which is the limit")
        if time.monotonic() > deadline:
            raise RefusedError("late", "the images were not fetched in time")
    return bytes(data)

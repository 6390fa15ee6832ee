"""`Limits`: limits for a single request, and for all requests together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import UsageError
from mobilenets.serve.refusal import RefusedError

MEGA = 1_000_000


class _LimitError(UsageError, ValueError):
    """A limit out of range."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits.

    Args:
        size_bytes: size of a request's body.
        held_bytes: total size of all requests being received, waiting or being answered.
        pixels: number of pixels of an image, according to its header.
        images: number of images in a request.
        seconds: time from a request's first byte to its answer.
        queue: number of requests per model that wait for a thread.
        requests: number of simultaneous requests of all kinds, for all models.
    """

    size_bytes: Annotated[int, Meta(ge=1)] = 32 * MEGA
    held_bytes: Annotated[int, Meta(ge=1)] = 512 * MEGA
    pixels: Annotated[int, Meta(ge=1)] = 50 * MEGA
    images: Annotated[int, Meta(ge=1)] = 64
    seconds: Annotated[float, Meta(gt=0)] = 30.0
    queue: Annotated[int, Meta(ge=1)] = 128
    requests: Annotated[int, Meta(ge=1)] = 1000

    def __post_init__(self) -> None:
        check_ranges(self, _LimitError)


class Held:
    """Counts the bytes of requests in memory. Only the event loop's thread calls it.

    Args:
        limit: maximum number of bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The count of one request; its bytes are released when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.size_bytes -= share.size_bytes

    def take(self, size_bytes: int) -> None:
        """Count additional bytes.

        Raises:
            RefusedError: there would be too many.
        """
        if self.size_bytes + size_bytes > self._limit:
            raise RefusedError("busy", "the server has no memory left for more requests; try again", retry_s=1)
        self.size_bytes += size_bytes


class Share:
    """Counts the bytes of one request.

    Args:
        held: counts the bytes of all requests.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count additional bytes.

        Raises:
            RefusedError: all requests together would have too many.
        """
        self._held.take(size_bytes)
        self.size_bytes += size_bytes

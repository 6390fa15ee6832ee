"""`Limits`: how much a request may ask for, and how much all of them together."""

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
    """What the server accepts.

    Args:
        size_bytes: of the body of a request.
        held_bytes: of all requests that are being received, waiting or being answered.
        pixels: of an image, as its header says.
        images: of a request.
        seconds: from the first byte of a request to its answer.
        queue: requests of one model that wait for a thread.
        requests: at once, of all models, received ones and others.
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
    """Counts the bytes of requests that are in memory. Only the event loop's thread calls it.

    Args:
        limit: the most bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What one request has of it, until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.size_bytes -= share.size_bytes

    def take(self, size_bytes: int) -> None:
        """Count further bytes.

        Raises:
            RefusedError: there would be too many.
        """
        if self.size_bytes + size_bytes > self._limit:
            raise RefusedError("busy", "the server holds as many requests as fit into its memory; try again", retry_s=1)
        self.size_bytes += size_bytes


class Share:
    """Counts the bytes of one request.

    Args:
        held: counts those of all.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.size_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count further bytes.

        Raises:
            RefusedError: all requests together would have too many.
        """
        self._held.take(size_bytes)
        self.size_bytes += size_bytes

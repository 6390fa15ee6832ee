"""uvicorn's connections, extended: large bodies are read into place without copies, and slow headers time out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools
import numpy as np
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from starlette.types import Scope

    from mobilenets.serve.limits import Share

LINK = "mobilenets.link"
"""Key of a request's `Link` among the extensions in its scope."""

_READ = 65_536  # bytes per read, unless they go directly into a body
_FIRST = 1 << 20  # initial bytes reserved for a body, doubled as it arrives: announcing a large size does not allocate memory
_ALIGNED = 16  # bytes, as NumPy aligns its memory


def header(scope: Scope, name: str) -> str:
    """A request's header by its name in lower case; "" if missing."""
    sought = name.encode()
    return next((value.decode("latin-1") for found, value in scope["headers"] if found == sought), "")


class Link:
    """The connection of one request.

    Args:
        protocol: the connection's protocol.
        left: number of bytes of the body still to come; 0 if unknown, or if they cannot be read into place.
    """

    def __init__(self, protocol: _Http, left: int) -> None:
        self._protocol = protocol
        self.left = left

    def watch(self, gone: Callable[[], object] | None) -> None:
        """Call this function, and no earlier one, when the client disconnects."""
        if gone is None:
            self._protocol.watched.pop(self, None)
        elif self._protocol.lost:
            gone()
        else:
            self._protocol.watched[self] = gone

    async def body(self, share: Share, *, aligned: int = 0) -> memoryview:
        """The body, part of which is still to come.

        Args:
            share: counts its bytes.
            aligned: offset of a tensor in the body, which is placed in memory so that numbers of any type are aligned.

        Raises:
            RefusedError: there are too many bytes in memory.
            ConnectionError: the client disconnected.
        """
        cycle = self._protocol.cycle  # that of this request: the next one cannot have begun
        if self._protocol.lost:
            raise ConnectionError
        first, cycle.body = cycle.body, bytearray()
        share.take(len(first))
        arrival = self._protocol.begin(Arrival(first, len(first) + self.left, share, aligned))
        if cycle.waiting_for_100_continue:
            cycle.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        try:
            await arrival.done
            return arrival.data
        finally:
            arrival.let_go()


class Arrival:
    """A body that is being read into place.

    Args:
        first: the part that has already arrived.
        size_bytes: size of the whole body.
        share: counts its bytes.
        aligned: offset of a tensor in it.
    """

    def __init__(self, first: bytearray, size_bytes: int, share: Share, aligned: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._share, self._size_bytes, self._start = share, size_bytes, -aligned % _ALIGNED
        self._place = len(first)
        self._view = self._memory(max(_FIRST, 2 * len(first)))
        self._view[: len(first)] = first

    @property
    def data(self) -> memoryview:
        """The part that has arrived."""
        return self._view[: self._place]

    def buffer(self) -> memoryview:
        """The memory for the next bytes."""
        if self._place == len(self._view):
            larger = self._memory(2 * len(self._view))
            larger[: self._place] = self._view
            self._view = larger
        return self._view[self._place :]

    def updated(self, count: int) -> None:
        """Note that this many bytes were written there."""
        self._place += count
        try:
            self._share.take(count)
        except Exception as error:  # otherwise the waiting task would never learn of it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Report to the waiting task that there is no body."""
        if not self.done.done():
            self.done.set_exception(error)

    def let_go(self) -> None:
        """Drop all references: the waiting task has the body, or no longer wants it."""
        self._view = memoryview(b"")

    def _memory(self, size_bytes: int) -> memoryview:
        """Uninitialized memory, whose pages take no RAM until they are written."""
        return np.empty(self._start + min(size_bytes, self._size_bytes), np.uint8).data[self._start :]


class _Joined:
    """The transport of one response. It holds the head back until the body's first part, so that one call sends both.

    Args:
        transport: the connection's transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Http(HttpToolsProtocol):
    """uvicorn's protocol, with a `Link` for each request.

    Args:
        seconds: time limit for a request's headers; after that, the connection is closed.
        settings: uvicorn's settings.
    """

    def __init__(self, seconds: float, **settings: Any) -> None:  # Any: as uvicorn says
        super().__init__(**settings)
        self._seconds = seconds
        self._late: asyncio.TimerHandle | None = None
        self._link: Link | None = None
        self.arriving: Arrival | None = None
        self.watched: dict[Link, Callable[[], object]] = {}
        self.lost = False

    @property
    def left(self) -> int:
        """Number of bytes of the body still to come, if known."""
        return 0 if self._link is None else self._link.left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn asks for more than asyncio promises
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        self.lost = True
        super().connection_lost(exc)
        if self.arriving is not None:
            self.arriving.fail(ConnectionError())
        for gone in list(self.watched.values()):
            gone()

    def on_message_begin(self) -> None:
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._relax()
        super().on_headers_complete()
        self._link = Link(self, self._announced() if self.cycle.keep_alive and not self.parser.should_upgrade() else 0)
        if self.scope["method"] == "POST" and not self.expect_100_continue:  # else something else is due, or nothing
            self.cycle.transport = _Joined(self.transport)  # type: ignore[assignment]  # as much of one as a response needs
        self.scope["extensions"] = {LINK: self._link}  # type: ignore[dict-item]  # uvicorn knows no objects there

    def on_body(self, body: bytes) -> None:
        if self._link is not None and self._link.left:
            self._link.left -= len(body)
        super().on_body(body)

    def begin(self, arrival: Arrival) -> Arrival:
        """Start reading the rest of a body into place."""
        self.arriving = arrival
        self.flow.resume_reading()
        return arrival

    def arrived(self, count: int) -> None:
        """Note that this many bytes of the body were read into place, or are no longer wanted."""
        assert self._link is not None
        assert self.arriving is not None
        self._link.left -= count
        if not self.arriving.done.done():
            self.arriving.updated(count)
        if not self._link.left:
            if not self.arriving.done.done():
                self.arriving.done.set_result(None)
            self.arriving = None
            self.parser = httptools.HttpRequestParser(self)  # the old parser has not seen the body and still waits for it
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.on_message_complete()

    def _announced(self) -> int:
        """Size of the body according to the headers; 0 if it is sent in chunks."""
        length = 0
        for name, value in self.headers:
            if name == b"transfer-encoding":
                return 0
            if name == b"content-length":
                length = int(value)  # digits, which the parser has checked
        return length

    def _wait(self) -> None:
        self._relax()
        self._late = self.loop.call_later(self._seconds, self.transport.close)

    def _relax(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def connections(seconds: float) -> type[asyncio.BufferedProtocol]:
    """The protocol class for a server's connections, all of them in one event loop.

    Args:
        seconds: time limit for a request's headers; after that, its connection is closed.
    """
    read = memoryview(bytearray(_READ))

    class Connection(asyncio.BufferedProtocol):
        def __init__(self, **settings: Any) -> None:  # Any: as uvicorn says
            self._http = _Http(seconds, **settings)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._http.connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._http.connection_lost(exc)

        def pause_writing(self) -> None:
            self._http.pause_writing()

        def resume_writing(self) -> None:
            self._http.resume_writing()

        def get_buffer(self, sizehint: int) -> memoryview:
            arriving = self._http.arriving
            if arriving is None:
                return read
            return read[: self._http.left] if arriving.done.done() else arriving.buffer()

        def buffer_updated(self, nbytes: int) -> None:
            http = self._http
            if http.arriving is not None:
                http.arrived(nbytes)
                return
            http.data_received(read[:nbytes])  # type: ignore[arg-type]  # the parser takes any bytes
            if http.left and not http.cycle.response_complete:
                http.flow.pause_reading()  # until the body is requested, or the answer is sent without it

    return Connection

"""Connections: uvicorn's, which read large bodies into their place, without copies, and do not wait forever for headers."""

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
"""Among the extensions in the scope of a request: its `Link`."""

_READ = 65_536  # bytes that are read at once, unless they go into their place
_FIRST = 1 << 20  # bytes that a body is given, and doubled as it arrives: nobody gets memory by announcing much
_ALIGNED = 16  # bytes, as memory from NumPy is


def header(scope: Scope, name: str) -> str:
    """A header of a request by its name in lower case; "" where it has none."""
    sought = name.encode()
    return next((value.decode("latin-1") for found, value in scope["headers"] if found == sought), "")


class Link:
    """The connection of one request.

    Args:
        protocol: of the connection.
        left: bytes of the body that are still to come; 0 if that is not known, or they cannot go into their place.
    """

    def __init__(self, protocol: _Http, left: int) -> None:
        self._protocol = protocol
        self.left = left

    def watch(self, gone: Callable[[], object] | None) -> None:
        """Call this, and nothing else, when the client hangs up."""
        if gone is None:
            self._protocol.watched.pop(self, None)
        elif self._protocol.lost:
            gone()
        else:
            self._protocol.watched[self] = gone

    async def body(self, share: Share, *, aligned: int = 0) -> memoryview:
        """The body, of which some bytes are still to come.

        Args:
            share: counts its bytes.
            aligned: where in the body a tensor begins, which then lies in memory where numbers of any type may.

        Raises:
            RefusedError: there are too many bytes in memory.
            ConnectionError: the client hung up.
        """
        cycle = self._protocol.cycle  # of this request: the next one cannot have begun
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
    """A body on its way into its place.

    Args:
        first: what is there of it.
        size_bytes: of all of it.
        share: counts its bytes.
        aligned: where in it a tensor begins.
    """

    def __init__(self, first: bytearray, size_bytes: int, share: Share, aligned: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._share, self._size_bytes, self._start = share, size_bytes, -aligned % _ALIGNED
        self._place = len(first)
        self._view = self._memory(max(_FIRST, 2 * len(first)))
        self._view[: len(first)] = first

    @property
    def data(self) -> memoryview:
        """What has arrived."""
        return self._view[: self._place]

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        if self._place == len(self._view):
            larger = self._memory(2 * len(self._view))
            larger[: self._place] = self._view
            self._view = larger
        return self._view[self._place :]

    def updated(self, count: int) -> None:
        """So many bytes have been written there."""
        self._place += count
        try:
            self._share.take(count)
        except Exception as error:  # nobody else would tell who waits
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell who waits that there is no body."""
        if not self.done.done():
            self.done.set_exception(error)

    def let_go(self) -> None:
        """Keep nothing of it: who waited has it, or does not want it any more."""
        self._view = memoryview(b"")

    def _memory(self, size_bytes: int) -> memoryview:
        """Memory that has not been written, in which a page takes none until it is."""
        return np.empty(self._start + min(size_bytes, self._size_bytes), np.uint8).data[self._start :]


class _Joined:
    """The transport of one response, on which its head waits for the first part of its body, so that one call sends both.

    Args:
        transport: of the connection.
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
        seconds: until the headers of a request are complete; then the connection is closed.
        settings: of uvicorn.
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
        """Bytes of the body that are still to come, where that is known."""
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
        if self.scope["method"] == "POST" and not self.expect_100_continue:  # or something else is written, or nothing more
            self.cycle.transport = _Joined(self.transport)  # type: ignore[assignment]  # as much of one as a response needs
        self.scope["extensions"] = {LINK: self._link}  # type: ignore[dict-item]  # uvicorn knows no objects there

    def on_body(self, body: bytes) -> None:
        if self._link is not None and self._link.left:
            self._link.left -= len(body)
        super().on_body(body)

    def begin(self, arrival: Arrival) -> Arrival:
        """Read what is left of a body into its place."""
        self.arriving = arrival
        self.flow.resume_reading()
        return arrival

    def arrived(self, count: int) -> None:
        """So many bytes of the body went into their place, or are not wanted any more."""
        assert self._link is not None
        assert self.arriving is not None
        self._link.left -= count
        if not self.arriving.done.done():
            self.arriving.updated(count)
        if not self._link.left:
            if not self.arriving.done.done():
                self.arriving.done.set_result(None)
            self.arriving = None
            self.parser = httptools.HttpRequestParser(self)  # the old one has not seen the body, and waits for it
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.on_message_complete()

    def _announced(self) -> int:
        """Bytes of the body, as the headers say; 0 where it comes in chunks."""
        length = 0
        for name, value in self.headers:
            if name == b"transfer-encoding":
                return 0
            if name == b"content-length":
                length = int(value)  # digits, or the parser would not be here
        return length

    def _wait(self) -> None:
        self._relax()
        self._late = self.loop.call_later(self._seconds, self.transport.close)

    def _relax(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def connections(seconds: float) -> type[asyncio.BufferedProtocol]:
    """The protocol of a server's connections, all of them in one event loop.

    Args:
        seconds: until the headers of a request are complete; then its connection is closed.
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
                http.flow.pause_reading()  # until the body is asked for, or the answer is there without it

    return Connection

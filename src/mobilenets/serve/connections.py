"""Connections that do not wait forever: for a request that never comes, or whose headers never end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def patient(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which closes a connection where the headers of a request are not complete after a time."""

    class Patient(HttpToolsProtocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn asks for more than asyncio promises
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._relax()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            self._wait()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._relax()
            super().on_headers_complete()

        def _wait(self) -> None:
            self._relax()
            self._late = self.loop.call_later(seconds, self.transport.close)

        def _relax(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Patient

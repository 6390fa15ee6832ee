"""Runs the server until it is told to stop: `SIGTERM` or Ctrl-C ends it gracefully, `SIGHUP` opens the models again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from mobilenets.errors import MobileNetsError
from mobilenets.serve.app import Access, application
from mobilenets.serve.connections import patient
from mobilenets.serve.limits import Limits
from mobilenets.serve.logs import configure
from mobilenets.serve.metrics import Metrics
from mobilenets.serve.model import Source
from mobilenets.serve.models import Models

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE_S = 30
GRACE_S = 10  # after the time that a request has
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs.

    Args:
        host, port: that it listens on; port 0 for any free one.
        limits: of requests.
        access: who may ask.
        watch_s: after how many seconds the files of the models are looked at again; None for never.
        json_lines: whether the log is JSON.
    """

    host: str
    port: int
    limits: Limits
    access: Access
    watch_s: float | None = None
    json_lines: bool = False


def serve(sources: Sequence[Source], settings: Settings, *, ready: Callable[[Models, str], object]) -> None:
    """Open the models and answer until a signal ends the server.

    Args:
        sources: of the models.
        settings: how the server runs.
        ready: is called with the models and the server's address when it listens.

    Raises:
        MobileNetsError: a model cannot be opened, or the port not be had.
    """
    with contextlib.closing(bound(settings.host, settings.port)) as listening:
        metrics = Metrics()
        models = Models(sources, settings.limits, metrics)
        app = application(models, settings.limits, metrics, settings.access, watch_s=settings.watch_s)
        where = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{where}:{listening.getsockname()[1]}"
        configure(json_lines=settings.json_lines)
        Server(app, settings.limits, models, lambda: ready(models, address)).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens: who comes before the models are open waits.

    Raises:
        MobileNetsError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise MobileNetsError(f"cannot listen on {host}, port {port}: {reason}", hint="choose another: --port 8001") from error
    return found


class Server(uvicorn.Server):
    """uvicorn, which ends quietly after a signal, and opens models again on `SIGHUP`.

    Args:
        app: that answers.
        limits: of requests.
        models: that are opened again.
        ready: is called when the server listens.
    """

    def __init__(self, app: ASGIApp, limits: Limits, models: Models, ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=patient(limits.seconds),
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                backlog=_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=round(limits.seconds + GRACE_S),
            )
        )
        self._models = models
        self._ready = ready
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End gracefully on the first signal, at once on a second Ctrl-C; unlike uvicorn, without raising it again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._models.reload())
        self._reloads.add(task)  # or it might be collected while it runs
        task.add_done_callback(self._reloads.discard)

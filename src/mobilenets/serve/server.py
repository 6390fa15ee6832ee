"""Runs the server until it is stopped: `SIGTERM` or Ctrl-C end it gracefully, `SIGHUP` reloads the models."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from mobilenets.errors import MissingExtraError, MobileNetsError
from mobilenets.serve.app import Access, application, service_of
from mobilenets.serve.connections import connections
from mobilenets.serve.limits import Limits
from mobilenets.serve.logs import configure, event
from mobilenets.serve.metrics import Metrics
from mobilenets.serve.model import Source
from mobilenets.serve.models import Models
from mobilenets.serve.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mobilenets.serve.rpc import Rpc

KEEP_ALIVE_S = 30
GRACE_S = 10  # added to a request's time limit
HEADERS_S = 2  # time limit for a request's headers, however short that for requests is, since nothing can be answered before
_BACKLOG = 2048
_HOSTS = "--host 127.0.0.1 is this machine alone, --host 0.0.0.0 is every address that it has"


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's settings.

    Args:
        host, port: the address to listen on; port 0 for any free one.
        limits: limits of requests.
        access: who may send requests.
        grpc: the port for gRPC, 0 for any free one; None for no gRPC.
        watch_s: interval in seconds for checking the models' files; None to never check.
        json_lines: whether the log is JSON.
    """

    host: str
    port: int
    limits: Limits
    access: Access
    grpc: int | None = None
    watch_s: float | None = None
    json_lines: bool = False


def serve(sources: Sequence[Source], settings: Settings, *, ready: Callable[[Models, Sequence[str]], object]) -> None:
    """Open the models and answer requests until a signal ends the server.

    Args:
        sources: the models.
        settings: the server's settings.
        ready: called when the server listens, with the models and the server's addresses, first HTTP, then gRPC if enabled.

    Raises:
        MissingExtraError: gRPC is enabled but not installed.
        MobileNetsError: a model cannot be opened, or the port is not available.
    """
    with contextlib.closing(bound(settings.host, settings.port)) as listening, hangups() as hung_up:
        metrics = Metrics()
        models = Models(sources, settings.limits, metrics)
        service = service_of(models, settings.limits, metrics, settings.access)
        app = application(service, settings.access, watch_s=settings.watch_s)
        rpc = None if settings.grpc is None else rpc_of(service, settings.host, settings.grpc, settings.access)
        where = f"[{settings.host}]" if ":" in settings.host else settings.host
        addresses = [f"http://{where}:{listening.getsockname()[1]}", *([f"grpc://{rpc.address}"] if rpc else [])]
        configure(json_lines=settings.json_lines)
        gc.collect()
        gc.freeze()  # exempts long-lived objects from garbage collection, which would take a tenth of a small request's time
        Server(app, service, lambda: ready(models, addresses), rpc, hung_up).run(sockets=[listening])


def rpc_of(service: Service, host: str, port: int, access: Access) -> Rpc:
    """The gRPC server, which starts with the HTTP server.

    Args:
        service: answers the requests.
        host, port: the address to listen on; port 0 for any free one.
        access: who may send requests.

    Raises:
        MissingExtraError: gRPC is not installed.
        MobileNetsError: the port is not available.
    """
    try:
        from mobilenets.serve.rpc import Rpc
    except ImportError as error:
        raise MissingExtraError("grpcio", "grpc") from error
    with contextlib.closing(bound(host, port, option="--grpc 8002")) as found:  # grpc's own errors say less
        return Rpc(service, host, found.getsockname()[1], access.key)


def bound(host: str, port: int, *, option: str = "--port 8001") -> socket.socket:
    """A listening socket: clients that connect before the models are open wait.

    Raises:
        MobileNetsError: the address is not available.
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
        elsewhere = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        hint = _HOSTS if elsewhere else f"choose another: {option}"
        raise MobileNetsError(f"cannot listen on {host}, port {port}: {reason}", hint=hint) from error
    return found


@contextlib.contextmanager
def hangups() -> Iterator[Sequence[int]]:
    """The `SIGHUP` signals received until the block ends or a server handles them; otherwise they would end the process."""
    came: list[int] = []
    if not _hears_hangups():
        yield came
        return
    before = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGHUP, before)


def _hears_hangups() -> bool:
    return hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()


class Server(uvicorn.Server):
    """uvicorn's server, which ends quietly after a signal, and reloads models on `SIGHUP`.

    Args:
        app: the application.
        service: the service whose models are reloaded.
        ready: called when the server listens.
        rpc: the gRPC server, which starts and stops with it; None for no gRPC.
        hung_up: the `SIGHUP` signals that came before the server could handle them.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        ready: Callable[[], object],
        rpc: Rpc | None = None,
        hung_up: Sequence[int] = (),
    ) -> None:
        limits = service.limits
        super().__init__(
            uvicorn.Config(
                self._last(app),
                http=connections(max(limits.seconds, HEADERS_S)),  # type: ignore[arg-type]  # it calls what both kinds of protocol have
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
        self._models = service.models
        self._ready, self._rpc, self._hung_up = ready, rpc, hung_up
        self._grace_s = limits.seconds + GRACE_S
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        if _hears_hangups():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        if self._hung_up:  # received while the models were opened, perhaps from files that have been replaced since
            self._reload()
        await super().startup(sockets)
        if self._rpc is not None:
            await self._rpc.start()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, answer the accepted ones, then close the models."""
        event("ending", requests=len(self.server_state.tasks))
        if self._rpc is not None:
            for one in self.servers:
                one.close()
            await self._rpc.stop(self._grace_s)
        await super().shutdown(sockets)
        event("ended")

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End gracefully on the first signal, and at once on a second Ctrl-C; unlike uvicorn, do not raise the signal again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _last(self, app: ASGIApp) -> ASGIApp:
        """The application, whose responses close their connection once the server is ending.

        A second Ctrl-C cancels it; the traceback of that is suppressed.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def told(message: Message) -> None:
                if self.should_exit and message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
                if self.force_exit and message["type"] == "lifespan.shutdown.failed":
                    message["message"] = ""
                await send(message)

            await app(scope, receive, told)

        return answer

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._models.reload())
        self._reloads.add(task)  # keeps the task from being garbage-collected while it runs
        task.add_done_callback(self._reloads.discard)

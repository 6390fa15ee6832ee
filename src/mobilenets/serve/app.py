"""`application`: the server as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mobilenets.errors import MobileNetsError
from mobilenets.serve import page_routes, predict_routes, protocol_routes
from mobilenets.serve.cors import Cors
from mobilenets.serve.described import DESCRIBED, REFUSALS
from mobilenets.serve.direct import Direct, mistake
from mobilenets.serve.keys import Keyed
from mobilenets.serve.limits import Held, Limits
from mobilenets.serve.metrics import MEDIA, Metrics
from mobilenets.serve.observed import Observed
from mobilenets.serve.service import Service, refusal
from mobilenets.serve.site import Site

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mobilenets.serve.fetching import Place
    from mobilenets.serve.models import Models

    Handler = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may send requests, and for what.

    Args:
        key: the API key that requests must carry; "" for none.
        origins: origins of web pages whose requests browsers may send (CORS).
        places: addresses from which images may be fetched.
    """

    key: str = field(default="", repr=False)
    origins: Sequence[str] = ()
    places: Sequence[Place] = ()


def service_of(models: Models, limits: Limits, metrics: Metrics, access: Access) -> Service:
    """The service behind HTTP and gRPC.

    Args:
        models: the served models.
        limits: limits of requests.
        metrics: the server's metrics.
        access: who may send requests.
    """
    held = Held(limits.held_bytes)
    metrics.watch_held(lambda: held.size_bytes)
    return Service(models, limits, held, metrics, access.places)


def application(service: Service, access: Access, *, watch_s: float | None = None) -> ASGIApp:
    """The server. When it stops, it answers all accepted requests, then closes the models.

    Args:
        service: answers the requests.
        access: who may send requests.
        watch_s: interval in seconds for checking the models' files, to reload changed ones; None to never check.
    """
    models, metrics = service.models, service.metrics
    site = None if access.key else Site()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = None if watch_s is None else asyncio.create_task(models.watch(watch_s))
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
            await asyncio.to_thread(models.close)
            if site is not None:
                site.close()

    app = FastAPI(
        title="mobilenets",
        version=version("mobilenets"),
        lifespan=lifespan,
        responses=REFUSALS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    handlers = {**predict_routes.handlers(service), **protocol_routes.handlers(service)}
    for path, handler in handlers.items():  # for the API description, and for methods other than POST
        app.add_api_route(path, handler, methods=["POST"], response_model=None, **DESCRIBED[path])
    app.include_router(protocol_routes.routes(service))

    @app.get("/metrics", summary="What was counted and timed, for Prometheus", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=MEDIA)

    app.include_router(page_routes.routes(models, site))
    app.add_exception_handler(MobileNetsError, _refused(metrics))
    app.add_exception_handler(HTTPException, page_routes.otherwise(models, site))
    app.add_exception_handler(Exception, _failed)
    inner: ASGIApp = Direct(app, handlers, metrics)
    if access.key:
        inner = Keyed(inner, access.key, metrics)
    if access.origins:
        inner = Cors(inner, access.origins, metrics)
    return Observed(inner, metrics, most=service.limits.requests)


def _refused(metrics: Metrics) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, MobileNetsError)
        return refusal(error, metrics)

    return handle


async def _failed(request: Request, error: Exception) -> Response:
    return mistake()

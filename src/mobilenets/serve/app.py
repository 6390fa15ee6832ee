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
    """Who may ask, and for what.

    Args:
        key: that requests must carry; "" for none.
        origins: web pages from elsewhere that browsers let ask.
        places: where images are fetched from that are given by their addresses.
    """

    key: str = field(default="", repr=False)
    origins: Sequence[str] = ()
    places: Sequence[Place] = ()


def service_of(models: Models, limits: Limits, metrics: Metrics, access: Access) -> Service:
    """What answers, over HTTP and gRPC.

    Args:
        models: that are served.
        limits: of requests.
        metrics: what is counted and timed.
        access: who may ask.
    """
    held = Held(limits.held_bytes)
    metrics.watch_held(lambda: held.size_bytes)
    return Service(models, limits, held, metrics, access.places)


def application(service: Service, access: Access, *, watch_s: float | None = None) -> ASGIApp:
    """The server. When it ends it answers what was accepted, and closes the models.

    Args:
        service: what answers.
        access: who may ask.
        watch_s: after how many seconds the files of the models are looked at again, to reload them; None for never.
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
    for path, handler in handlers.items():  # for the description, and for what is no POST
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

"""`application`: the server as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mobilenets.errors import MobileNetsError
from mobilenets.serve import page_routes, predict_routes, protocol_routes
from mobilenets.serve.described import REFUSALS
from mobilenets.serve.keys import Keyed
from mobilenets.serve.limits import Held, Limits
from mobilenets.serve.metrics import MEDIA, Metrics
from mobilenets.serve.observed import Observed
from mobilenets.serve.protocol import HEADER
from mobilenets.serve.refusal import RefusedError
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
    app.include_router(predict_routes.routes(service))
    app.include_router(protocol_routes.routes(service))

    @app.get("/metrics", summary="What was counted and timed, for Prometheus", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        return Response(metrics.text(), media_type=MEDIA)

    app.include_router(page_routes.routes(models, site))
    app.add_exception_handler(MobileNetsError, _refused(metrics))
    app.add_exception_handler(RequestValidationError, _invalid(metrics))
    app.add_exception_handler(HTTPException, page_routes.otherwise(models, site))
    app.add_exception_handler(Exception, _failed)
    inner: ASGIApp = Keyed(app, access.key, metrics) if access.key else app
    if access.origins:
        exposed = (HEADER, "Retry-After", "X-Request-Id")
        inner = CORSMiddleware(
            inner, allow_origins=access.origins, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=exposed
        )
    return Observed(inner, metrics, most=service.limits.requests)


def _refused(metrics: Metrics) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, MobileNetsError)
        return refusal(error, metrics)

    return handle


def _invalid(metrics: Metrics) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = [f"'{fault['loc'][-1]}': {fault['msg'][:1].lower()}{fault['msg'][1:]}" for fault in error.errors()]
        return refusal(RefusedError("request", "; ".join(told)), metrics)

    return handle


async def _failed(request: Request, error: Exception) -> Response:
    """A mistake of ours; the log has its traceback."""
    return JSONResponse({"error": "the server made a mistake; its log says more"}, 500)

"""`Observed`: counts, times, numbers and logs every request, and refuses requests if there are too many at once."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING

from mobilenets.serve.connections import header
from mobilenets.serve.logs import event
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.service import FACTS, HEALTH, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mobilenets.serve.metrics import Metrics

REQUEST = "x-request-id"
_REQUEST = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_CLOSED = 499  # the client left before the answer
_ENDING = RefusedError("busy", "the server is shutting down; try again", retry_s=5)
_TOO_MANY = RefusedError("busy", "the server has too many concurrent requests; try again", retry_s=1)


class Observed:
    """An ASGI middleware.

    Args:
        app: the wrapped application.
        metrics: the server's metrics.
        most: maximum number of simultaneous requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, most: int) -> None:
        self._app = app
        self._metrics = metrics
        self._most = most
        self._active = 0
        self._start = token_hex(4)
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # uvicorn omits the body
        start = time.perf_counter()
        given = header(scope, REQUEST)
        number = given if _REQUEST.fullmatch(given) else f"{self._start}-{next(self._count)}"
        status = _CLOSED

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST.encode(), number.encode())]
            await send(message)

        failure: Exception | None = None
        self._active += 1
        try:
            app = self._app if self._active <= self._most or scope["path"] in HEALTH else refusal(_TOO_MANY, self._metrics)
            await app(inner, receive, observed)
        except asyncio.CancelledError:  # the server no longer waits for it
            if status == _CLOSED:
                await refusal(_ENDING, self._metrics)(inner, receive, observed)
        except Exception as error:  # the application has answered it with 500; here it is logged
            failure = error
        finally:
            self._active -= 1
        seconds = time.perf_counter() - start
        facts = inner.get(FACTS, {})
        route = inner.get("route")
        self._metrics.answered(getattr(route, "path", "none"), str(facts.get("model", "")), status, seconds)
        event(
            "request" if failure is None else "internal error",
            level=logging.INFO if failure is None else logging.ERROR,
            exception=failure,
            request=number,
            client=(scope.get("client") or ("",))[0],
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(1000 * seconds, 2),
            **facts,
        )

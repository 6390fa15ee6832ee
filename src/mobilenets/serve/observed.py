"""`Observed`: counts, times and logs every request, and gives it a number by which the log can be searched."""

from __future__ import annotations

import logging
import re
import time
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from mobilenets.serve.logs import event
from mobilenets.serve.service import FACTS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mobilenets.serve.metrics import Metrics

REQUEST = "X-Request-Id"
_REQUEST = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_CLOSED = 499  # nobody was there to get the answer


class Observed:
    """An ASGI application before another.

    Args:
        app: the other.
        metrics: what is counted and timed.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._start = token_hex(4)
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and say what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        given = Headers(scope=scope).get(REQUEST, "")
        number = given if _REQUEST.fullmatch(given) else f"{self._start}-{next(self._count)}"
        status = _CLOSED

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST] = number
            await send(message)

        failure: Exception | None = None
        try:
            await self._app(scope, receive, observed)
        except Exception as error:  # answered with 500 by the application; here it is logged
            failure = error
        seconds = time.perf_counter() - start
        facts = scope.get(FACTS, {})
        route = scope.get("route")
        self._metrics.answered(getattr(route, "path", "none"), str(facts.get("model", "")), status, seconds)
        event(
            "request" if failure is None else "mistake of the server",
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

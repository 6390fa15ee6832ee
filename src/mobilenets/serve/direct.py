"""`Direct`: prediction requests, the most frequent ones, bypass the web framework; all others go to the application."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse

from mobilenets.errors import MobileNetsError
from mobilenets.serve.service import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mobilenets.serve.metrics import Metrics

Handler = Callable[[Request], Awaitable["ASGIApp"]]
"""Answers a POST request; may raise MobileNetsError. The path's `{name}` parts are in `Request.path_params`."""


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A path with its own handler.

    Args:
        path: path of the requests; `{name}` matches any part without a slash.
        handler: answers POST requests.
    """

    path: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        """A pattern that matches the paths.

        >>> DirectRoute("/v2/models/{name}/infer", ...).pattern.fullmatch("/v2/models/cats/infer")["name"]
        'cats'
        """
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))


class Direct:
    """An ASGI middleware.

    Args:
        app: the wrapped application, which answers requests without a handler.
        handlers: handlers of POST requests, by path.
        metrics: counts refused requests.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, Handler], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        routes = [DirectRoute(path, handler) for path, handler in handlers.items()]
        self._routes = [(route.pattern.fullmatch, route) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            for matched, route in self._routes:
                match = matched(path)
                if match is not None:
                    scope["route"], scope["path_params"] = route, match.groupdict()
                    await self._answer(route.handler, scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        response: ASGIApp
        try:
            response = await handler(Request(scope, receive))
        except MobileNetsError as error:
            response = refusal(error, self._metrics)
        except Exception:
            await mistake()(scope, receive, send)
            raise
        await response(scope, receive, send)


def mistake() -> JSONResponse:
    """The response to a request that failed through our own error; the log has its traceback."""
    return JSONResponse({"error": "internal server error; see the server's log"}, 500)

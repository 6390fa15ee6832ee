"""`Keyed`: accepts only requests with the API key."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from mobilenets.serve.connections import header
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.service import HEALTH, refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mobilenets.serve.metrics import Metrics

OPEN = ("/", "/form", *HEALTH)
"""Paths that need no key: the form, which asks for it, and the health checks."""


class Keyed:
    """An ASGI middleware.

    Args:
        app: the wrapped application.
        key: the API key, sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        metrics: counts requests without the key.
    """

    def __init__(self, app: ASGIApp, key: str, metrics: Metrics) -> None:
        self._app = app
        self._key = key.encode()
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not self._fits(scope):
            error = RefusedError("key", "this server requires an API key, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
            await refusal(error, self._metrics)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _fits(self, scope: Scope) -> bool:
        return fits(self._key, authorization=header(scope, "authorization"), api_key=header(scope, "x-api-key"))


def fits(key: bytes, *, authorization: str, api_key: str) -> bool:
    """Whether a request carries the key, as bearer token or in its own header. The comparison takes constant time."""
    scheme, _, bearer = authorization.partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else api_key
    return hmac.compare_digest(given.encode(), key)

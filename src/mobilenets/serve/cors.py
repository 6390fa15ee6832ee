"""`Cors`: allows requests from pages of named web sites; refusals are JSON, as everywhere in the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from mobilenets.serve.protocol import HEADER
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.service import refusal

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from mobilenets.serve.metrics import Metrics

METHODS = ("GET", "POST")
EXPOSED = (HEADER, "Retry-After", "X-Request-Id")


class Cors(CORSMiddleware):
    """An ASGI middleware.

    Args:
        app: the wrapped application.
        origins: origins of the allowed web sites.
        metrics: counts refusals.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], metrics: Metrics) -> None:
        super().__init__(app, allow_origins=origins, allow_methods=METHODS, allow_headers=["*"], expose_headers=EXPOSED)
        self._metrics = metrics

    def preflight_response(self, request_headers: Headers) -> Response:
        """The response to a browser's preflight request, which asks whether a page may send a request."""
        found = super().preflight_response(request_headers)
        if found.status_code == 200:
            return found
        response = refusal(RefusedError("request", self._reason(request_headers)), self._metrics)
        response.headers.update({name: value for name, value in found.headers.items() if not name.startswith("content-")})
        return response

    def _reason(self, request_headers: Headers) -> str:
        origin, method = request_headers["origin"], request_headers["access-control-request-method"]
        if not self.is_allowed_origin(origin):
            return f"pages of '{origin[:80]}' may not send requests here; 'mobilenets serve --cors ORIGIN' allows a website"
        if method not in METHODS:
            return f"pages of other websites may use {' and '.join(METHODS)}, not with '{method[:80]}'"
        return "pages of other websites may not ask for access to a private network"

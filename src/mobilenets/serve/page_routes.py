"""`GET /`: the page that runs the model in the browser, if available, otherwise the form, which is also at `/form`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from mobilenets.serve.page import POLICY, form_page
from mobilenets.serve.site import INDEX, Site
from mobilenets.web.server import HEADERS, TYPES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mobilenets.serve.models import Models


def routes(models: Models, site: Site | None) -> APIRouter:
    """The routes.

    Args:
        models: the served models; the page runs the first one.
        site: the page; None if clients may not have the model's file, as on a server with an API key.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/form")
    async def form() -> Response:
        return HTMLResponse(form_page(models.served), headers={"Content-Security-Policy": POLICY})

    @router.get("/")
    async def page() -> Response:
        return await _file(models, site, INDEX) or await form()

    return router


def otherwise(models: Models, site: Site | None) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler for paths without a route: it returns a file of the page, or 404.

    Args:
        models, site: as for `routes`.
    """

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and request.method == "GET":
            file = await _file(models, site, request.url.path.removeprefix("/"))
            if file is not None:
                return file
        where = f"{request.method} {request.url.path[:80]}"
        text = f"there is nothing at {where}" if error.status_code == 404 else f"{where}: {str(error.detail).lower()}"
        return JSONResponse({"error": text}, error.status_code, headers=error.headers)

    return handle


async def _file(models: Models, site: Site | None, path: str) -> Response | None:
    """A file of the page; None if there is no such file."""
    file = None if site is None else (await site.files(models.of_name(None))).get(path)
    return None if file is None else FileResponse(file, media_type=TYPES.get(file.suffix), headers=HEADERS)

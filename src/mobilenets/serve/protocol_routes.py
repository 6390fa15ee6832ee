"""The routes of the Open Inference Protocol: health, metadata, inference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from mobilenets.serve.connections import header
from mobilenets.serve.described import METADATA, SERVER
from mobilenets.serve.direct import Handler
from mobilenets.serve.protocol import HEADER, VERSION, answer, check_version, parse, tensors_at
from mobilenets.serve.service import Service

EXTENSIONS = ["binary_tensor_data", "model_repository(index)"]


def handlers(service: Service) -> Mapping[str, Handler]:
    """The inference handlers for a service's models."""

    async def infer(request: Request) -> ASGIApp:
        name, version = request.path_params["name"], request.path_params.get("version", VERSION)
        model = service.models.of_protocol(check_version(name, version))
        header_length = header(request.scope, HEADER.lower()) or None
        async with service.body(request, model.served, aligned=tensors_at(header_length)) as body:
            work = model.work(partial(parse, body.data, header_length), answer)
            return await service.answer(model.served, work, body)

    return {"/v2/models/{name}/infer": infer, "/v2/models/{name}/versions/{version}/infer": infer}


def routes(service: Service) -> APIRouter:
    """The other routes."""
    router = APIRouter(tags=["Open Inference Protocol"])

    @router.get("/v2/health/live", summary="Is the server alive?")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @router.get("/v2/health/ready", summary="Are all models ready?")
    async def ready() -> Response:
        return JSONResponse({"ready": True})

    @router.get("/v2", include_in_schema=False)
    @router.get("/v2/", summary="What the server is", responses=SERVER)
    async def metadata() -> Response:
        return JSONResponse({"name": "mobilenets", "version": version("mobilenets"), "extensions": EXTENSIONS})

    @router.post("/v2/repository/index", summary="Which models there are")
    async def index() -> Response:
        return JSONResponse([{"name": name, "version": VERSION, "state": "READY"} for name in service.models.names])

    @router.get("/v2/models/{name}/ready", summary="Is a model ready?")
    @router.get("/v2/models/{name}/versions/{version}/ready", summary="Is a version of a model ready?")
    async def model_ready(name: str, version: str = VERSION) -> Response:
        service.models.of_protocol(check_version(name, version))
        return JSONResponse({"name": name, "ready": True})

    @router.get("/v2/models/{name}", summary="What a model takes and returns", responses=METADATA)
    @router.get(
        "/v2/models/{name}/versions/{version}",
        summary="What it takes and returns",
        responses=METADATA,
    )
    async def model_metadata(name: str, version: str = VERSION) -> Response:
        return JSONResponse(service.models.of_protocol(check_version(name, version)).metadata())

    return router

"""`POST /predict`: images in, the lines of `mobilenets predict --json` out, or the image with what was found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from mobilenets.errors import MobileNetsError
from mobilenets.runtime.rows import json_line
from mobilenets.serve.described import IMAGES, PREDICTED
from mobilenets.serve.fetching import addresses_of, fetched
from mobilenets.serve.forms import RAW, EncodedImage, form_images
from mobilenets.serve.predictions import TOP, drawn_work, line_work, manifest_for
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.service import Body, Service, note
from mobilenets.serve.work import JSON, Answer

LINES = "application/x-ndjson"


def routes(service: Service) -> APIRouter:
    """The route, for the models of a service."""
    router = APIRouter(tags=["Images"])

    @router.post("/predict", summary="Predict images", openapi_extra=IMAGES, responses=PREDICTED)
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="Which model; the first by default.")] = None,
        top: Annotated[int | None, Query(ge=1, le=1000, description="Classifiers: labels of an image; 5 by default.")] = None,
        threshold: Annotated[float | None, Query(ge=0, le=1, description="Detectors: boxes that score more.")] = None,
        draw: Annotated[bool, Query(description="Answer the image with what was found drawn on it.")] = False,
    ) -> Response:
        served = service.models.of_name(model)
        manifest = manifest_for(served, threshold=threshold, top=top)
        pixels = service.limits.pixels
        async with service.body(request, served) as body:
            images = await _images(request, body, service)
            note(request, images=len(images))
            if draw:
                if len(images) != 1:
                    raise RefusedError("request", f"one image can be drawn, but the request has {len(images)}")
                media = "image/png" if "image/png" in request.headers.get("accept", "") else "image/jpeg"
                work = drawn_work(images[0].data, manifest, pixels=pixels, media=media)
                return await service.answer(served, work, body)
            works = [line_work(image.data, image.name, manifest, pixels=pixels, top=top or TOP) for image in images]
            if len(works) == 1:
                return await service.answer(served, works[0], body)
            return _several(images, await service.answers(served, works, body))

    return router


async def _images(request: Request, body: Body, service: Service) -> list[EncodedImage]:
    """The images of a request: a form's files, what lies at the addresses in JSON, or the body itself.

    Raises:
        RefusedError: there are none, or they cannot be had.
    """
    content_type = request.headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return form_images(content_type, body.data, most=service.limits.images)
    if media == JSON:
        addresses = addresses_of(body.data, service.places, most=service.limits.images)
        found = await fetched(addresses, service.limits, body.share, deadline=body.deadline)
        return [EncodedImage(address, data) for address, data in zip(addresses, found, strict=True)]
    if not body.data:
        raise RefusedError("request", "the body is empty; send an image: curl --data-binary @photo.jpg")
    return [EncodedImage(RAW, body.data)]


def _several(images: list[EncodedImage], found: list[Answer | MobileNetsError]) -> Response:
    """A line for each image; one that cannot be read has its reason there.

    Raises:
        MobileNetsError: none can be read.
    """
    failures = [one for one in found if isinstance(one, MobileNetsError)]
    if len(failures) == len(found):
        raise failures[0]
    lines = [
        json_line({"file": image.name, "error": str(one)}).encode() + b"\n" if isinstance(one, MobileNetsError) else one.body
        for image, one in zip(images, found, strict=True)
    ]
    return Response(b"".join(lines), media_type=LINES)

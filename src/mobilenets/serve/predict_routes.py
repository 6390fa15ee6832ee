"""`POST /predict`: images in, the lines of `mobilenets predict --json` out, or the image with what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from mobilenets.errors import MobileNetsError
from mobilenets.runtime.rows import json_line
from mobilenets.serve.connections import header
from mobilenets.serve.direct import Handler
from mobilenets.serve.fetching import addresses_of, fetched
from mobilenets.serve.forms import RAW, EncodedImage, form_images
from mobilenets.serve.predictions import TOP, drawn_work, line_work, manifest_for
from mobilenets.serve.refusal import RefusedError
from mobilenets.serve.service import Body, Service, note, response
from mobilenets.serve.work import JSON, Answer
from mobilenets.table import unknown_name

LINES = "application/x-ndjson"


class Options(msgspec.Struct, frozen=True):
    """The query of a request."""

    model: str | None = None
    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    draw: bool = False


def handlers(service: Service) -> Mapping[str, Handler]:
    """The handler, for the models of a service."""

    async def predict(request: Request) -> ASGIApp:
        options = options_of(request.scope["query_string"])
        served = service.models.of_name(options.model)
        manifest = manifest_for(served, threshold=options.threshold, top=options.top)
        pixels = service.limits.pixels
        async with service.body(request, served) as body:
            images = await _images(request, body, service)
            note(request, images=len(images))
            if options.draw:
                if len(images) != 1:
                    raise RefusedError("request", f"one image can be drawn, but the request has {len(images)}")
                media = "image/png" if "image/png" in header(request.scope, "accept") else "image/jpeg"
                work = drawn_work(images[0].data, manifest, pixels=pixels, media=media)
                return await service.answer(served, work, body)
            works = [line_work(image.data, image.name, manifest, pixels=pixels, top=options.top or TOP) for image in images]
            if len(works) == 1:
                return await service.answer(served, works[0], body)
            return _several(images, await service.answers(served, works, body))

    return {"/predict": predict}


def options_of(query: bytes) -> Options:
    """The options in a query string.

    >>> options_of(b"top=3&draw=1")
    Options(model=None, top=3, threshold=None, draw=True)

    Raises:
        RefusedError: one is not as it must be, or there is no such option.
    """
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for name in given:
        if name not in Options.__struct_fields__:
            raise RefusedError("request", str(unknown_name("option", name[:80], dict.fromkeys(Options.__struct_fields__))))
    try:
        return msgspec.convert(given, Options, strict=False)
    except msgspec.ValidationError as error:
        text, _, name = str(error).partition(" - at `$.")
        raise RefusedError("request", f"'{name.rstrip('`')}': {text[:1].lower()}{text[1:]}") from error


async def _images(request: Request, body: Body, service: Service) -> list[EncodedImage]:
    """The images of a request: a form's files, what lies at the addresses in JSON, or the body itself.

    Raises:
        RefusedError: there are none, or they cannot be had.
    """
    content_type = header(request.scope, "content-type")
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return form_images(content_type, bytes(body.data), most=service.limits.images)
    if media == JSON:
        addresses = addresses_of(body.data, service.places, most=service.limits.images)
        found = await fetched(addresses, service.limits, body.share, deadline=body.deadline)
        return [EncodedImage(address, data) for address, data in zip(addresses, found, strict=True)]
    if not body.data:
        raise RefusedError("request", "the body is empty; send an image: curl --data-binary @photo.jpg")
    return [EncodedImage(RAW, bytes(body.data))]


def _several(images: list[EncodedImage], found: list[Answer | MobileNetsError]) -> ASGIApp:
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
    return response(Answer(b"".join(lines), LINES))

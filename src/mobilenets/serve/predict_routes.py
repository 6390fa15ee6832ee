"""`POST /predict`: images in, the lines of `mobilenets predict --json` out, or the image with the result drawn on it."""

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
from mobilenets.serve.work import JSON, Answer, Work
from mobilenets.table import unknown_name

LINES = "application/x-ndjson"


class Options(msgspec.Struct, frozen=True):
    """The query of a request."""

    model: str | None = None
    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    draw: bool = False


def handlers(service: Service) -> Mapping[str, Handler]:
    """The handler for a service's models."""

    async def predict(request: Request) -> ASGIApp:
        options = options_of(request.scope["query_string"])
        served = service.models.of_name(options.model)
        manifest = manifest_for(served, threshold=options.threshold, top=options.top)
        pixels = service.limits.pixels
        async with service.body(request, served) as body:
            images = await _images(request, body, service)
            note(request, images=len(images))
            if options.draw and len(images) != 1:
                raise RefusedError("request", f"one image can be drawn, but the request has {len(images)}")
            media = "image/png" if "image/png" in header(request.scope, "accept") else "image/jpeg"

            def work(image: EncodedImage) -> Work:
                if options.draw:
                    return drawn_work(image.data, manifest, pixels=pixels, media=media)
                return line_work(image.data, image.name, manifest, pixels=pixels, top=options.top or TOP)

            here = [image for image in images if image.missing is None]
            answers = iter(await service.answers(served, [work(image) for image in here], body) if here else [])
            found = [next(answers) if image.missing is None else image.missing for image in images]
            return _one(images[0], *found) if len(found) == 1 else _several(images, found)

    return {"/predict": predict}


def options_of(query: bytes) -> Options:
    """The options in a query string.

    >>> options_of(b"top=3&draw=1")
    Options(model=None, top=3, threshold=None, draw=True)

    Raises:
        RefusedError: an option is not valid, or does not exist.
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
    """The images in a request: a form's files, the images at the addresses in JSON, or the body itself.

    Raises:
        RefusedError: there are none, or they are unavailable.
    """
    content_type = header(request.scope, "content-type")
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return form_images(content_type, bytes(body.data), most=service.limits.images)
    if media == JSON:
        addresses = addresses_of(body.data, service.places, most=service.limits.images)
        found = await fetched(addresses, service.limits, body.share, deadline=body.deadline)
        return [
            EncodedImage(address, b"", data) if isinstance(data, RefusedError) else EncodedImage(address, data)
            for address, data in zip(addresses, found, strict=True)
        ]
    if not body.data:
        raise RefusedError("request", "the body is empty; send an image: curl --data-binary @photo.jpg")
    return [EncodedImage(RAW, bytes(body.data))]


def _one(image: EncodedImage, found: Answer | MobileNetsError) -> ASGIApp:
    """The response for a single image.

    Raises:
        MobileNetsError: there is no answer; for a form, the message names the file.
    """
    if isinstance(found, MobileNetsError):
        raise _named(image, found)
    return response(found)


def _several(images: list[EncodedImage], found: list[Answer | MobileNetsError]) -> ASGIApp:
    """The response for several images, one line each; for an unreadable image, the line gives the reason.

    Raises:
        MobileNetsError: none of them can be read.
    """
    first = found[0]
    if isinstance(first, MobileNetsError) and all(isinstance(one, MobileNetsError) for one in found):
        raise _named(images[0], first)
    lines = [
        json_line({"file": image.name, "error": str(one)}).encode() + b"\n" if isinstance(one, MobileNetsError) else one.body
        for image, one in zip(images, found, strict=True)
    ]
    return response(Answer(b"".join(lines), LINES))


def _named(image: EncodedImage, error: MobileNetsError) -> MobileNetsError:
    """The error for an image, with the name of its file in front."""
    if isinstance(error, RefusedError) and image.name != RAW:
        return RefusedError(error.reason, f"'{image.name[:80]}': {error}", retry_s=error.retry_s)
    return error

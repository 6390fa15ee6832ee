"""Descriptions of request and response bodies for `/openapi.json`, because the server reads bodies as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]  # Any: JSON
Responses = dict[int | str, dict[str, Any]]  # Any: JSON


def content(**schemas: Schema) -> Schema:
    """The content of a body by media type, with types written as names: `content(image__png=BINARY)`."""
    return {"content": {media.replace("__", "/").replace("_", "-"): {"schema": schema} for media, schema in schemas.items()}}


def answer(described: Schema) -> Responses:
    """A route's response on success."""
    return {200: {"description": "The answer.", **described}}


def record(*required: str, **properties: Schema) -> Schema:
    """An object with these properties."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def many(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
BINARY: Schema = {"type": "string", "format": "binary"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
ANY: Schema = {}

_REASON = content(application__json=record("error", error=TEXT))
REFUSALS: Responses = {
    "4XX": {"description": "The request is refused; `error` says why.", **_REASON},
    "5XX": {"description": "The server is overloaded, or an internal error occurred.", **_REASON},
}
"""Error responses of every route."""

_SIGNATURES = many(record("name", "datatype", "shape", name=TEXT, datatype=TEXT, shape=many(WHOLE)))
_METADATA = record(
    "name",
    "platform",
    name=TEXT,
    versions=many(TEXT),
    platform=TEXT,
    inputs=_SIGNATURES,
    outputs=_SIGNATURES,
    properties=record(),
)
METADATA = answer(content(application__json=_METADATA))
SERVER = answer(
    content(application__json=record("name", "version", "extensions", name=TEXT, version=TEXT, extensions=many(TEXT)))
)

_TENSORS = many(
    record("name", "shape", "datatype", name=TEXT, shape=many(WHOLE), datatype=TEXT, parameters=record(), data=many(ANY))
)
_OUTPUTS = many(record("name", name=TEXT, parameters=record()))
INFERENCE: Schema = {
    "requestBody": {
        "required": True,
        **content(
            application__json=record("inputs", id=TEXT, inputs=_TENSORS, outputs=_OUTPUTS), application__octet_stream=BINARY
        ),
    }
}
INFERRED = answer(
    content(
        application__json=record("model_name", "outputs", model_name=TEXT, model_version=TEXT, id=TEXT, outputs=_TENSORS),
        application__octet_stream=BINARY,
    )
)

IMAGES: Schema = {
    "requestBody": {
        "required": True,
        **content(image__jpeg=BINARY, application__octet_stream=BINARY, multipart__form_data=record(image=many(BINARY))),
    }
}
PREDICTED = answer(
    content(
        application__json=record("file", file=TEXT, label=TEXT, score=NUMBER, boxes=many(record()), areas=many(record())),
        application__x_ndjson=BINARY,
        image__jpeg=BINARY,
        image__png=BINARY,
    )
)


def parameter(where: str, name: str, schema: Schema, description: str = "") -> Schema:
    """A parameter in the path or the query."""
    return {"in": where, "name": name, "required": where == "path", "schema": schema, "description": description}


_OPTIONS = [
    parameter("query", "model", TEXT, "Which model; the first by default."),
    parameter("query", "top", {**WHOLE, "minimum": 1, "maximum": 1000}, "Classifiers: labels per image; 5 by default."),
    parameter("query", "threshold", {**NUMBER, "minimum": 0, "maximum": 1}, "Detectors: return boxes with a higher score."),
    parameter("query", "draw", {"type": "boolean"}, "Return the image with the results drawn on it."),
]
_NAME, _VERSION = parameter("path", "name", TEXT, "The model."), parameter("path", "version", TEXT, "Its version.")
_PROTOCOL = ["Open Inference Protocol"]

DESCRIBED: Mapping[str, dict[str, Any]] = {  # Any: what FastAPI takes
    "/predict": {
        "summary": "Predict images",
        "tags": ["Images"],
        "openapi_extra": {**IMAGES, "parameters": _OPTIONS},
        "responses": PREDICTED,
    },
    "/v2/models/{name}/infer": {
        "summary": "Run a model",
        "tags": _PROTOCOL,
        "openapi_extra": {**INFERENCE, "parameters": [_NAME]},
        "responses": INFERRED,
    },
    "/v2/models/{name}/versions/{version}/infer": {
        "summary": "Run a version",
        "tags": _PROTOCOL,
        "openapi_extra": {**INFERENCE, "parameters": [_NAME, _VERSION]},
        "responses": INFERRED,
    },
}
"""The routes with their own handlers (`Direct`)."""

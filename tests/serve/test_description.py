"""The server against the protocol's published OpenAPI description, and against its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import HealthCheck, Phase, given, settings
from tests.serve.running import Running

schemathesis = pytest.importorskip("schemathesis", reason="the extra 'dev' has schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

JSON = "application/json"

FEW = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def published(shared: Path, both: Running) -> Any:  # Any: schemathesis has no types for a schema
    """The published description, with the models of the server for its parameters.

    It writes `${MODEL_NAME}` in its paths where OpenAPI has `{MODEL_NAME}`.
    """
    text = (shared / "serve" / "open_inference_rest.yaml").read_text(encoding="utf-8").replace("${MODEL_", "{MODEL_")
    data = yaml.safe_load(text)
    for item in data["paths"].values():
        for parameter in item.get("parameters", []):
            known = {"MODEL_NAME": ["color", "cells.images"], "MODEL_VERSION": ["1"]}
            parameter["schema"]["enum"] = known[parameter["name"]]
    schema = schemathesis.openapi.from_dict(data)
    schema.config.update(base_url=both.url)
    return schema


@pytest.fixture(scope="module")
def own(both: Running) -> Any:  # Any: as above
    """What the server says of itself."""
    schema = schemathesis.openapi.from_dict(both.get("/openapi.json").json())
    schema.config.update(base_url=both.url)
    return schema


def ask(schema: Any, excluded: list[Any], **parts: object) -> dict[str, set[int]]:
    """Send requests as a description allows them, and compare the answers with it; returns the statuses by operation."""
    statuses: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()

        @FEW
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            response = case.call()
            statuses.setdefault(case.operation.label, set()).add(response.status_code)
            case.validate_response(response, excluded_checks=excluded)

        send()
    return statuses


LAX = [checks.positive_data_acceptance, checks.unsupported_method, checks.missing_required_header]
"""A request may be as the schema says and yet no request: an empty list of inputs."""


def test_answers_are_as_the_published_description_says(published: Any) -> None:
    statuses = ask(published, LAX)
    model = "/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}"
    inference = statuses.pop(f"POST {model}/infer")
    assert inference <= {200, 400, 413, 422}
    fine = ("/v2/health/live", "/v2/health/ready", "/v2/", model, f"{model}/ready")
    assert statuses == {f"GET {path}": {200} for path in fine}


@pytest.mark.parametrize("version", ["1"])
def test_an_inference_is_answered_as_the_published_description_says(version: str, published: Any) -> None:
    operation = published["/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}/infer"]["POST"]
    image = {"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32", "data": [0.25] * 768}
    for body in ({"inputs": [image]}, {"id": "7", "inputs": [image], "outputs": [{"name": "logits"}], "parameters": {}}):
        case = operation.Case(path_parameters={"MODEL_NAME": "color", "MODEL_VERSION": version}, body=body, media_type=JSON)
        response = case.call()
        assert response.status_code == 200
        case.validate_response(response, excluded_checks=LAX)


def test_answers_are_as_the_server_itself_says(own: Any) -> None:
    statuses = ask(own, LAX)
    assert {"POST /predict", "GET /metrics", "POST /v2/models/{name}/infer", "POST /v2/repository/index"} <= statuses.keys()

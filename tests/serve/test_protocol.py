"""The Open Inference Protocol, as its stock client and hand-made requests see it."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.running import Running

from mobilenets.runtime.predictor import Predictor

http = pytest.importorskip("tritonclient.http", reason="the extra 'dev' has tritonclient")

Encode = Callable[..., bytes]


def batch(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(n).uniform(-1, 1, (n, 3, 16, 16)).astype(np.float32)


def test_the_stock_client_sees_health_metadata_and_models(both: Running) -> None:
    with http.InferenceServerClient(both.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("color")
        assert client.is_model_ready("color", "1")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata()["name"] == "mobilenets"
        assert client.get_model_metadata("color")["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 16, 16]}]
        assert client.get_model_metadata("color", "1")["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
        assert [model["name"] for model in client.get_model_repository_index()] == [
            "color",
            "color.images",
            "cells",
            "cells.images",
        ]


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_tensors_are_what_the_network_computes(
    n: int, binary_in: bool, binary_out: bool, both: Running, color_model: Path
) -> None:
    given = http.InferInput("image", [n, 3, 16, 16], "FP32")
    given.set_data_from_numpy(batch(n), binary_data=binary_in)
    asked = [http.InferRequestedOutput("logits", binary_data=binary_out)]
    with http.InferenceServerClient(both.address) as client:
        found = client.infer("color", [given], outputs=asked, request_id="seven")
    np.testing.assert_allclose(found.as_numpy("logits"), Predictor.open(color_model).run(batch(n))["logits"], rtol=1e-5)
    assert found.get_response()["id"] == "seven"
    assert found.get_response()["model_version"] == "1"


@pytest.mark.parametrize("binary", [True, False])
def test_a_detector_of_images_answers_boxes(binary: bool, both: Running, encoded: Encode) -> None:
    images = [encoded("red", (30, 60)), encoded("black", (96, 96))]
    elements = images if binary else [base64.b64encode(image) for image in images]
    given = http.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=binary)
    with http.InferenceServerClient(both.address) as client:
        found = client.infer("cells.images", [given]).as_numpy("prediction")
    red, black = (json.loads(line) for line in found)
    assert (red["width"], red["height"]) == (30, 60)
    assert {box["label"] for box in red["boxes"]} == {"rose"}
    assert black["boxes"] == []


def test_a_nested_list_is_read_as_a_flat_one(both: Running) -> None:
    tensor = {"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32"}
    nested = both.infer("color", {"inputs": [{**tensor, "data": batch(1).tolist()}]}).json()
    flat = both.infer("color", {"inputs": [{**tensor, "data": batch(1).ravel().tolist()}]}).json()
    assert nested == flat
    assert len(flat["outputs"][0]["data"]) == 3


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32", "data": [0.0] * 768, **changes}


BEHIND = {"name": "image", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 3072}}

# fmt: off
MALFORMED = [
    ({}, "missing required field `inputs`"),
    ({"inputs": []}, "takes one input, 'image', but the request has no input"),
    ({"inputs": [tensor(), tensor()]}, "has 'image', 'image'"),
    ({"inputs": [tensor(name="picture")]}, "has 'picture'"),
    ({"inputs": [tensor(datatype="INT8")]}, "datatype 'INT8', but the model takes FP32"),
    ({"inputs": [tensor(shape=[1, 3, 16])]}, "shape [1, 3, 16], but the model takes [-1, 3, 16, 16]"),
    ({"inputs": [tensor(shape=[0, 3, 16, 16], data=[])]}, "axes are at least 1"),
    ({"inputs": [tensor(shape=[-1, 3, 16, 16])]}, "axes are at least 1"),
    ({"inputs": [tensor(shape=[2, 3, 16, 16])]}, "has 768 values, but shape [2, 3, 16, 16] has 1,536"),
    ({"inputs": [tensor(data=["a"] * 768)]}, "not a list of numbers"),
    ({"inputs": [tensor(data=[True] * 768)]}, "not a list of numbers"),
    ({"inputs": [tensor(data=[[0.0] * 768, []])]}, "not a list of numbers"),
    ({"inputs": [tensor(data=[1e39] * 768)]}, "not finite"),
    ({"inputs": [tensor(data=None)]}, "not a list of numbers"),
    ({"inputs": [{**tensor(), "data": 3}]}, "not a list of numbers"),
    ({"inputs": [BEHIND]}, "3,072 bytes after the JSON, but 0 are left"),
    ({"inputs": [tensor(parameters={"binary_data_size": 0})]}, "both data and 'binary_data_size'"),
    ({"inputs": [tensor(parameters={"binary_data_size": "x"})]}, "not a number of bytes"),
    ({"inputs": [tensor(parameters={"shared_memory_region": "r"})]}, "shared memory"),
    ({"inputs": [tensor()], "outputs": [{"name": "scores"}]}, "no output 'scores' but 'logits'"),
    ({"inputs": [tensor()], "outputs": [{"name": "logits"}, {"name": "logits"}]}, "asked for twice"),
    ({"inputs": [tensor()], "outputs": [{"name": "logits", "parameters": {"classification": 2}}]}, "not supported"),
    ({"inputs": [tensor()], "outputs": [{"name": "logits", "parameters": {"binary_data": "yes"}}]}, "true or false"),
    ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "true or false"),
    ({"inputs": [tensor()], "id": 7}, "Expected `str`"),
    ([], "Expected `object`"),
]
# fmt: on


@pytest.mark.parametrize(("request_", "words"), MALFORMED)
def test_a_malformed_request_is_refused_with_its_reason(request_: object, words: str, both: Running) -> None:
    assert words in both.refusal(both.infer("color", request_), 400)


def head(**changes: object) -> bytes:
    one = {"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32", "parameters": {"binary_data_size": 3072}, **changes}
    return json.dumps({"inputs": [one]}).encode()


# fmt: off
MALFORMED_BYTES = [
    (b"{", None, "not JSON"),
    (b"\xff\xfe", None, "not JSON"),
    (b"", None, "not JSON"),
    (b"[" * 100_000, None, "request"),
    (head() + bytes(3072), None, "'Inference-Header-Content-Length' must say where they begin"),
    (head() + bytes(3072), "1", "not JSON"),
    (head() + bytes(3072), "-5", "'Inference-Header-Content-Length' is '-5'"),
    (head() + bytes(3072), "99999", "'Inference-Header-Content-Length' is '99999'"),
    (head() + bytes(3072), "x", "'Inference-Header-Content-Length' is 'x'"),
    (head() + bytes(3000), str(len(head())), "3,072 bytes after the JSON, but 3,000 are left"),
    (head() + bytes(3080), str(len(head())), "8 bytes after the JSON belong to no input"),
    (head(shape=[2, 3, 16, 16]) + bytes(3072), str(len(head())), "has 3,072 bytes, but shape [2, 3, 16, 16] has 6,144"),
    (head() + np.full(768, np.nan, np.float32).tobytes(), str(len(head())), "not finite"),
]
# fmt: on


@pytest.mark.parametrize(("body", "length", "words"), MALFORMED_BYTES)
def test_a_malformed_binary_request_is_refused_with_its_reason(
    body: bytes, length: str | None, words: str, both: Running
) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    assert words in both.refusal(both.ask("/v2/models/color/infer", body, headers=headers), 400)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (struct.pack("<I", 10) + b"short", "an element of 10 bytes, but 5 are left"),
        (b"ab", "ends within the length"),
        (struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b", "has 2 elements, but shape [1] has 1"),
    ],
)
def test_a_malformed_list_of_images_is_refused_with_its_reason(elements: bytes, words: str, both: Running) -> None:
    json_ = json.dumps(
        {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(elements)}}]}
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(json_))}
    assert words in both.refusal(both.ask("/v2/models/color.images/infer", json_ + elements, headers=headers), 400)


def test_a_damaged_image_among_several_is_named_by_its_place(both: Running, encoded: Encode) -> None:
    data = [base64.b64encode(encoded("red")).decode(), base64.b64encode(b"no image").decode()]
    response = both.infer("color.images", {"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": data}]})
    assert both.refusal(response, 422).startswith(
        "image 1: the data is not an image of a known format: it begins with 'no image'; JPEG, PNG"
    )


@pytest.mark.parametrize("path", ["/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/color/versions/2", "/v3"])
def test_what_is_not_there_is_404(path: str, both: Running) -> None:
    assert both.refusal(both.get(path), 404)


def test_a_wrong_method_is_405(both: Running) -> None:
    assert both.refusal(both.get("/v2/models/color/infer"), 405)
    assert both.refusal(both.get("/predict"), 405)

"""The Open Inference Protocol over gRPC, as its stock client and hand-made messages see it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.held import Held
from tests.serve.process import started
from tests.serve.running import Running, running, until

from mobilenets.errors import MobileNetsError
from mobilenets.runtime.predictor import Predictor
from mobilenets.serve.app import Access
from mobilenets.serve.limits import Limits
from mobilenets.serve.messages import CLASSES, MESSAGES
from mobilenets.serve.model import Source

grpc = pytest.importorskip("grpc", reason="the extra 'grpc' has grpcio")
client = pytest.importorskip("tritonclient.grpc", reason="the extra 'dev' has tritonclient")
service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2")

Encode = Callable[..., bytes]
Serve = Callable[..., Running]
Holding = tuple[Source, threading.Semaphore]
SERVICE = "/inference.GRPCInferenceService/"


@pytest.fixture(scope="module")
def both(color_model: Path, cell_model: Path) -> Iterator[Running]:
    """A server of a classifier, "color", and a detector, "cells"."""
    sources = [Source("color", color_model, threads=2), Source("cells", cell_model, threads=2)]
    with running(sources, limits=Limits(), access=Access(), grpc=0) as server:
        yield server


def batch(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(n).uniform(-1, 1, (n, 3, 16, 16)).astype(np.float32)


def tensor(n: int = 1, value: float | None = None) -> Any:  # Any: of tritonclient
    given = client.InferInput("image", [n, 3, 16, 16], "FP32")
    given.set_data_from_numpy(batch(n) if value is None else np.full((n, 3, 16, 16), value, np.float32))
    return given


def test_the_stock_client_sees_health_and_metadata(both: Running) -> None:
    with client.InferenceServerClient(both.grpc) as asking:
        assert asking.is_server_live()
        assert asking.is_server_ready()
        assert asking.is_model_ready("color")
        assert asking.is_model_ready("color", "1")
        assert asking.get_server_metadata().name == "mobilenets"
        found = asking.get_model_metadata("color", as_json=True)
        assert found["inputs"] == [{"name": "image", "datatype": "FP32", "shape": ["-1", "3", "16", "16"]}]
        assert found["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": ["-1", "3"]}]
        over_http = both.get("/v2/models/cells").json()
        found = asking.get_model_metadata("cells", "1", as_json=True)
        assert [output["name"] for output in found["outputs"]] == [output["name"] for output in over_http["outputs"]]
        assert found["platform"] == over_http["platform"]


@pytest.mark.parametrize("n", [1, 3])
def test_raw_tensors_are_what_the_network_computes(n: int, both: Running, color_model: Path) -> None:
    with client.InferenceServerClient(both.grpc) as asking:
        found = asking.infer("color", [tensor(n)], outputs=[client.InferRequestedOutput("logits")], request_id="seven")
    np.testing.assert_allclose(found.as_numpy("logits"), Predictor.open(color_model).run(batch(n))["logits"], rtol=1e-5)
    assert found.get_response().id == "seven"
    assert found.get_response().model_version == "1"


def ask(server: Running, message: Any, method: str = "ModelInfer", **options: Any) -> Any:  # Any: messages, and options of grpc
    """The response to a message; raises grpc.RpcError."""
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(
            SERVICE + method,
            request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
            response_deserializer=getattr(service_pb2, f"{method}Response").FromString,
        )
        return call(message, **{"timeout": 20, **options})


def request(n: int = 1, **changes: Any) -> Any:  # Any: a message
    """A request with typed contents."""
    made = service_pb2.ModelInferRequest(model_name="color")
    made.inputs.add(name="image", datatype="FP32", shape=[n, 3, 16, 16]).contents.fp32_contents.extend(
        batch(n).ravel().tolist()
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_typed_tensors_are_answered_typed(both: Running, color_model: Path) -> None:
    found = ask(both, request(2))
    assert list(found.raw_output_contents) == []
    (logits,) = found.outputs
    assert (logits.name, logits.datatype, list(logits.shape)) == ("logits", "FP32", [2, 3])
    expected = Predictor.open(color_model).run(batch(2))["logits"].ravel()
    np.testing.assert_allclose(logits.contents.fp32_contents, expected, rtol=1e-5)


def test_a_detector_of_images_answers_boxes_raw_and_typed(both: Running, encoded: Encode) -> None:
    images = [encoded("red", (30, 60)), encoded("black", (96, 96))]
    given = client.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(images, dtype=np.object_))
    with client.InferenceServerClient(both.grpc) as asking:
        raw = [bytes(line) for line in asking.infer("cells.images", [given]).as_numpy("prediction")]
    message = service_pb2.ModelInferRequest(model_name="cells.images")
    message.inputs.add(name="image", datatype="BYTES", shape=[2]).contents.bytes_contents.extend(images)
    typed = list(ask(both, message).outputs[0].contents.bytes_contents)
    assert raw == typed
    red, black = (json.loads(line) for line in raw)
    assert (red["width"], red["height"]) == (30, 60)
    assert {box["label"] for box in red["boxes"]} == {"rose"}
    assert black["boxes"] == []


def refusal(server: Running, message: Any, code: str, method: str = "ModelInfer", **options: Any) -> str:  # Any: as above
    """The reason in a response with this status."""
    with pytest.raises(grpc.RpcError) as refused:
        ask(server, message, method, **options)
    assert refused.value.code().name == code, refused.value.details()
    return str(refused.value.details())


def _changed(change: Callable[[Any], object]) -> Any:  # Any: messages
    made = request()
    change(made)
    return made


def _raw(*tensors: bytes) -> Callable[[Any], object]:
    def change(made: Any) -> None:  # Any: a message
        made.inputs[0].ClearField("contents")
        made.raw_input_contents.extend(tensors)

    return change


# fmt: off
MALFORMED: list[tuple[Callable[[Any], object], str]] = [
    (lambda made: made.ClearField("inputs"), "takes one input, 'image', but the request has no input"),
    (lambda made: made.inputs.add(name="image"), "has 'image', 'image'"),
    (lambda made: setattr(made.inputs[0], "name", "picture"), "has 'picture'"),
    (lambda made: setattr(made.inputs[0], "datatype", "INT8"), "datatype 'INT8', but the model takes FP32"),
    (lambda made: made.inputs[0].shape.pop(), "shape [1, 3, 16], but the model takes [-1, 3, 16, 16]"),
    (lambda made: made.inputs[0].shape.__setitem__(0, 0), "axes are at least 1"),
    (lambda made: made.inputs[0].shape.__setitem__(0, -1), "axes are at least 1"),
    (lambda made: made.inputs[0].shape.__setitem__(0, 2), "has 3,072 bytes, but shape [2, 3, 16, 16] has 6,144"),
    (lambda made: made.inputs[0].shape.__setitem__(0, 2**40), "has 1,099,511,627,776 images"),
    (lambda made: made.inputs[0].ClearField("contents"), "has 0 bytes, but shape [1, 3, 16, 16] has 3,072"),
    (lambda made: made.inputs[0].contents.fp32_contents.__setitem__(0, float("nan")), "not finite"),
    (lambda made: made.inputs[0].parameters["shared_memory_region"].MergeFrom(
        service_pb2.InferParameter(string_param="a")), "shared memory"),
    (lambda made: made.raw_input_contents.append(bytes(3072)), "'contents', but the request has 'raw_input_contents' too"),
    (_raw(bytes(3072), bytes(3072)), "'raw_input_contents' has 2 tensors, but the request has 1 inputs"),
    (_raw(bytes(3071)), "has 3,071 bytes, but shape [1, 3, 16, 16] has 3,072"),
    (_raw(np.full(768, np.inf, "<f4").tobytes()), "not finite"),
    (lambda made: made.outputs.add(name="scores"), "no output 'scores' but 'logits'"),
    (lambda made: (made.outputs.add(name="logits"), made.outputs.add(name="logits")), "asked for twice"),
    (lambda made: made.outputs.add(name="logits").parameters["classification"].MergeFrom(
        service_pb2.InferParameter(int64_param=2)), "not supported"),
]
# fmt: on


@pytest.mark.parametrize(("change", "words"), MALFORMED)
def test_a_malformed_request_is_refused_with_its_reason(change: Callable[[Any], object], words: str, both: Running) -> None:
    assert words in refusal(both, _changed(change), "INVALID_ARGUMENT")


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", bytes(100)])
def test_bytes_that_are_no_message_are_refused(data: bytes, both: Running) -> None:
    assert "the request is not a ModelInferRequest" in refusal(both, data, "INVALID_ARGUMENT")


def test_damaged_messages_end_in_an_answer_or_a_reason(both: Running, encoded: Encode) -> None:
    random = np.random.default_rng(0)
    images = service_pb2.ModelInferRequest(model_name="color.images")
    images.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(encoded("red"))
    sound = [request().SerializeToString(), _changed(_raw(bytes(3072))).SerializeToString(), images.SerializeToString()]
    codes: set[str] = set()
    reasons: list[str] = []
    with grpc.insecure_channel(both.grpc) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer")
        for i in range(400):
            data = bytearray(sound[i % len(sound)])
            for place in random.integers(0, min(len(data), 120), random.integers(1, 4)):
                data[place] = random.integers(256)
            del data[len(data) - int(random.integers(0, 3)) * int(random.integers(0, len(data))) :]
            try:
                call(bytes(data), timeout=20)
                codes.add("OK")
            except grpc.RpcError as error:
                codes.add(error.code().name)
                reasons.append(error.details())
    assert all(reasons)
    assert codes == {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
    assert len(ask(both, request()).outputs) == 1


def test_what_is_not_there_is_not_found(both: Running) -> None:
    assert "no model 'nobody'" in refusal(both, request(model_name="nobody"), "NOT_FOUND")
    assert "no version '2'" in refusal(both, request(model_version="2"), "NOT_FOUND")
    message = service_pb2.ModelMetadataRequest(name="nobody")
    assert "no model 'nobody'" in refusal(both, message, "NOT_FOUND", "ModelMetadata")
    with client.InferenceServerClient(both.grpc) as asking:
        assert not asking.is_model_ready("nobody")
        with pytest.raises(client.InferenceServerException, match="UNIMPLEMENTED"):
            asking.get_model_repository_index()


def test_a_damaged_image_among_several_is_named_by_its_place(both: Running, encoded: Encode) -> None:
    message = service_pb2.ModelInferRequest(model_name="color.images")
    message.inputs.add(name="image", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([encoded("red"), b"no image"])
    assert refusal(both, message, "INVALID_ARGUMENT").startswith(
        "image 1: the data is not an image of a known format: it begins with 'no image'; JPEG, PNG"
    )


def test_more_than_the_limits_is_refused_and_counted(serve: Serve, color_model: Path, encoded: Encode) -> None:
    server = serve(color=color_model, grpc=0, limits=Limits(size_bytes=20_000, images=2, pixels=2000))
    assert "larger than max" in refusal(server, request(7), "RESOURCE_EXHAUSTED")
    assert "at most 2 are accepted" in refusal(server, request(3), "INVALID_ARGUMENT")
    message = service_pb2.ModelInferRequest(model_name="color.images")
    message.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(encoded("red", (100, 100)))
    assert "at most 2,000 are accepted" in refusal(server, message, "INVALID_ARGUMENT")
    assert len(ask(server, request(2)).outputs) == 1
    rejected = server.samples("mobilenets_rejected_total")
    assert rejected == {'{reason="bytes"}': 1, '{reason="images"}': 1, '{reason="pixels"}': 1}
    assert server.samples("mobilenets_held_bytes") == {"": 0}


def test_bytes_of_all_requests_together_are_limited(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0, limits=Limits(held_bytes=5000))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, server, request(model_name="held"))
        until(lambda: server.samples("mobilenets_held_bytes") != {"": 0})
        assert "no memory left for more requests" in refusal(server, request(model_name="held"), "UNAVAILABLE")
        turns.release()
        assert len(first.result().outputs) == 1


def accepted(server: Running) -> int:
    return round(server.samples("mobilenets_stage_seconds_count").get('{model="held",stage="receive"}', 0))


def test_grpc_and_http_share_the_queue_and_what_is_beyond_it_is_refused(serve: Serve, held: Holding, encoded: Encode) -> None:
    source, turns = held
    server = serve(source, grpc=0, limits=Limits(queue=2))
    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(ask, server, request(model_name="held"))]
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        over_http = pool.submit(server.ask, "/predict", encoded("red"))
        first.append(pool.submit(ask, server, request(model_name="held")))
        until(lambda: server.models.of_name("held").batcher.waiting == 2)
        with pytest.raises(grpc.RpcError) as refused:
            ask(server, request(model_name="held"))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "2 requests are already waiting" in refused.value.details()
        assert int(dict(refused.value.trailing_metadata())["retry-after"]) >= 1
        assert server.ask("/predict", encoded("red")).status == 503
        turns.release(3)
        assert [len(one.result().outputs) for one in first] == [1, 1]
        assert over_http.result().status == 200
    assert server.samples("mobilenets_rejected_total") == {'{reason="busy"}': 2}


def test_more_requests_at_once_than_allowed_are_refused_but_health_is_answered(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0, limits=Limits(requests=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, server, request(model_name="held"))
        until(lambda: accepted(server) == 1)
        assert "too many concurrent requests" in refusal(server, request(model_name="held"), "UNAVAILABLE")
        assert ask(server, service_pb2.ServerLiveRequest(), "ServerLive").live
        turns.release()
        assert len(first.result().outputs) == 1


def test_a_request_that_is_not_answered_in_time_is_late_and_does_not_run(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0, limits=Limits(seconds=0.5))
    with ThreadPoolExecutor(2) as pool:
        late = [pool.submit(refusal, server, request(model_name="held"), "DEADLINE_EXCEEDED")]
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        late.append(pool.submit(refusal, server, request(model_name="held"), "DEADLINE_EXCEEDED"))
        for one in late:
            assert "within 0.5 s" in one.result()
    turns.release()
    until(lambda: server.models.of_name("held").batcher.waiting == 0)
    turns.release()
    assert len(ask(server, request(model_name="held")).outputs) == 1
    assert Held.batches == [1, 1]  # the second of the late ones is not there


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_request_whose_client_gave_up_does_not_run(how: str, serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0)
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=lambda sent: sent.SerializeToString())
        first = call.future(request(model_name="held"))
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        second = call.future(request(model_name="held"), timeout=0.3 if how == "deadline" else None)
        if how == "cancel":
            until(lambda: server.models.of_name("held").batcher.waiting == 1)
            second.cancel()
        reasons = ({'{reason="gone"}': 1}, {'{reason="late"}': 1})  # the server knows of a deadline too
        until(lambda: server.samples("mobilenets_rejected_total") in reasons)
        turns.release()
        assert first.result(20)
        turns.release()
        assert call(request(model_name="held"), timeout=20)
    assert Held.batches == [1, 1]


def test_a_message_that_does_not_arrive_in_time_is_refused(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model, grpc=0, limits=Limits(seconds=0.3))
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        go_on.wait(20)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel:
        future = channel.stream_unary(SERVICE + "ModelInfer").future(slow(), timeout=20)
        assert future.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive in time" in future.details()
        go_on.set()


def test_a_key_is_asked_for_everywhere_but_for_health(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model, grpc=0, access=Access(key="secret"))
    assert ask(server, service_pb2.ServerReadyRequest(), "ServerReady").ready
    assert "API key" in refusal(server, request(), "UNAUTHENTICATED")
    assert "API key" in refusal(server, service_pb2.ServerMetadataRequest(), "UNAUTHENTICATED", "ServerMetadata")
    assert "API key" in refusal(server, request(), "UNAUTHENTICATED", metadata=(("authorization", "Bearer wrong"),))
    for metadata in (("authorization", "Bearer secret"), ("x-api-key", "secret")):
        assert len(ask(server, request(), metadata=(metadata,)).outputs) == 1


def test_the_end_of_a_server_waits_for_what_it_accepted(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, server, request(model_name="held")) for _ in range(3)]
        until(lambda: accepted(server) == 3)
        server.server.should_exit = True
        time.sleep(0.3)
        turns.release(3)
        assert [len(one.result().outputs) for one in asked] == [1, 1, 1]
    assert refusal(server, request(model_name="held"), "UNAVAILABLE")


def test_a_reload_answers_new_requests_with_the_new_model(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, grpc=0, watch_s=0.05)
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(ask, server, request(model_name="held"))
        until(lambda: accepted(server) == 1)
        source.path.write_text("100")
        until(lambda: server.samples("mobilenets_reloads_total") == {'{model="held",outcome="done"}': 1})
        turns.release()
        old = before.result().outputs[0].contents.fp32_contents
    turns.release()
    new = ask(server, request(model_name="held")).outputs[0].contents.fp32_contents
    np.testing.assert_allclose(np.array(new) - 100, old, atol=1e-4)


def test_the_command_says_both_addresses_and_logs_each_request(color_model: Path, tmp_path: Path) -> None:
    with started(f"color={color_model}", "--grpc", "0", "--json", "--max-mb", "0.02", folder=tmp_path) as server:
        assert server.process.stdout is not None
        address = server.process.stdout.readline().removeprefix("serving at grpc://").strip()
        with client.InferenceServerClient(address) as asking:
            assert asking.infer("color", [tensor()]).as_numpy("logits").shape == (1, 3)
            with pytest.raises(client.InferenceServerException, match="no model 'nobody'"):
                asking.infer("nobody", [tensor()])
            with pytest.raises(client.InferenceServerException, match="larger than max"):
                asking.infer("color", [tensor(9)])
        server.process.terminate()
        assert server.ended() == 0
        events = server.events("request")
    assert [(one["method"], one["status"]) for one in events] == [
        ("gRPC", "OK"),
        ("gRPC", "NOT_FOUND"),
        ("gRPC", "RESOURCE_EXHAUSTED"),
    ]
    assert events[0]["model"] == "color"
    assert "Traceback" not in server.log.read_text()


def test_a_port_that_is_taken_is_named(serve: Serve, color_model: Path) -> None:
    first = serve(color=color_model, grpc=0)
    port = int(first.grpc.rpartition(":")[2])
    with pytest.raises(MobileNetsError, match=f"cannot listen on 127.0.0.1, port {port}") as refused:
        serve(color=color_model, grpc=port)
    assert "--grpc" in refused.value.hint


def test_the_messages_are_those_of_the_published_description(shared: Path) -> None:
    text = re.sub(r"//[^\n]*", "", (shared / "serve" / "open_inference_grpc.proto").read_text())
    found: dict[str, dict[str, tuple[int, str]]] = {}
    outer: list[str] = []
    for part in re.findall(r"(?:message|service|oneof)\s+\w+\s*\{|\}|\{|[^{};]+;", text):
        part = " ".join(part.split())
        if part.endswith("{"):
            kind, _, name = part.removesuffix("{").strip().partition(" ")
            outer.append(name if kind == "message" else f"{kind}:" if kind else "")
            if kind == "message":
                found[".".join(one for one in outer if one and ":" not in one)] = {}
        elif part == "}":
            outer.pop()
        elif "=" in part and outer:
            kind, name, number = re.fullmatch(r"(.+) (\w+) = (\d+);", part).groups()  # type: ignore[union-attr]  # as it is
            within = ".".join(one for one in outer if ":" not in one)
            found[within][name] = (int(number), _short(kind, within, found, "oneof:" in outer))
    assert found == {name: dict(fields) for name, fields in MESSAGES.items()}


def _short(kind: str, within: str, found: dict[str, Any], choice: bool) -> str:
    """A type as the table has it."""
    if kind.startswith("map<"):
        return "{" + kind.removeprefix("map<string,").removesuffix(">").strip() + "}"
    repeated, _, name = kind.rpartition(" ")
    inner = f"{within}.{name}"
    return ("*" if repeated else "") + (inner if inner in found else name) + ("?" if choice else "")


@pytest.mark.parametrize("name", ["ModelInferRequest", "ModelInferResponse", "InferTensorContents"])
def test_fields_are_those_of_the_stock_client(name: str) -> None:
    theirs = {field.name: field for field in getattr(service_pb2, name).DESCRIPTOR.fields}
    ours = {field.name: field for field in CLASSES[name].DESCRIPTOR.fields}
    assert ours.keys() == theirs.keys()
    for key, field in ours.items():
        assert (field.number, field.type) == (theirs[key].number, theirs[key].type)

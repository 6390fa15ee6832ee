"""What a server accepted is answered, whatever happens meanwhile; what it cannot do is refused at once."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import urllib3
from numpy.typing import NDArray
from tests.serve.held import Held
from tests.serve.running import Running, until

from mobilenets.runtime.engines.base import Outputs
from mobilenets.runtime.engines.table import Runtime
from mobilenets.serve.app import Access
from mobilenets.serve.limits import Limits
from mobilenets.serve.logs import LOGGER
from mobilenets.serve.model import Source
from mobilenets.table import Table

Encode = Callable[..., bytes]
Serve = Callable[..., Running]
Holding = tuple[Source, threading.Semaphore]


def accepted(server: Running) -> int:
    """Requests whose bodies are in memory."""
    return round(server.samples("mobilenets_stage_seconds_count").get('{model="held",stage="receive"}', 0))


def test_requests_beyond_the_queue_are_refused_with_retry_after_and_the_others_answered(
    serve: Serve, held: Holding, encoded: Encode
) -> None:
    source, turns = held
    server = serve(source, limits=Limits(queue=2))
    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(server.ask, "/predict", encoded("red"))]
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        first += [pool.submit(server.ask, "/predict", encoded("red")) for _ in range(2)]
        until(lambda: server.models.of_name("held").batcher.waiting == 2)
        refused = server.ask("/predict", encoded("red"))
        assert "2 requests are already waiting" in server.refusal(refused, 503)
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.samples("mobilenets_queue_requests") == {'{model="held"}': 2}
        turns.release(3)
        assert [one.result().status for one in first] == [200, 200, 200]
    assert server.samples("mobilenets_rejected_total") == {'{reason="busy"}': 1}


def test_requests_beyond_all_that_the_server_takes_are_refused(serve: Serve, held: Holding, encoded: Encode) -> None:
    source, turns = held
    server = serve(source, limits=Limits(requests=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, "/predict", encoded("red"))
        until(lambda: accepted(server) == 1)
        assert "too many concurrent requests" in server.refusal(server.get("/v2"), 503)
        assert server.get("/v2/health/live").status == 200  # or it would be killed for having much to do
        turns.release()
        assert first.result().status == 200
    assert server.get("/v2").status == 200


def test_a_request_that_is_not_answered_in_time_is_504_and_does_not_run(serve: Serve, held: Holding, encoded: Encode) -> None:
    source, turns = held
    server = serve(source, limits=Limits(seconds=0.3))
    with ThreadPoolExecutor(2) as pool:
        late = [pool.submit(server.ask, "/predict", encoded("red"))]
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        late.append(pool.submit(server.ask, "/predict", encoded("red")))
        for one in late:
            assert "within 0.3 s" in server.refusal(one.result(), 504)
    turns.release()
    until(lambda: server.models.of_name("held").batcher.waiting == 0)
    turns.release()
    assert server.ask("/predict", encoded("red")).status == 200
    assert Held.batches == [1, 1]  # the second of the late ones is not there


def test_a_request_whose_client_hung_up_does_not_run(serve: Serve, held: Holding, encoded: Encode) -> None:
    source, turns = held
    server = serve(source)
    host, _, port = server.address.partition(":")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, "/predict", encoded("red"))
        until(lambda: accepted(server) == 1 and server.models.of_name("held").batcher.waiting == 0)
        body = encoded("red")
        with socket.create_connection((host, int(port))) as link:
            link.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            until(lambda: server.models.of_name("held").batcher.waiting == 1)
        until(lambda: server.samples("mobilenets_rejected_total") == {'{reason="gone"}': 1})
        turns.release()
        assert first.result().status == 200
    turns.release()
    assert server.ask("/predict", encoded("red")).status == 200
    assert Held.batches == [1, 1]


class Broken(Held):
    """An engine with a mistake."""

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        if batch.any():
            raise ValueError("a mistake")
        return super().run(batch)


def test_a_mistake_of_ours_is_500_and_logged_and_the_next_request_is_answered(
    serve: Serve, tmp_path: Path, encoded: Encode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    (tmp_path / "model.held").write_text("0")
    source = Source("broken", tmp_path / "model.held", engines=Table("kind", {".held": Runtime("Broken", Broken)}))
    server = serve(source)
    assert "internal server error" in server.refusal(server.ask("/predict", encoded("red")), 500)
    until(lambda: [record.getMessage() for record in caplog.records][-1:] == ["internal error"])
    assert caplog.records[-1].exc_info is not None
    assert server.get("/v2").status == 200
    assert server.samples("mobilenets_held_bytes") == {"": 0}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\nGET /v2 HTT"])
def test_a_connection_that_says_nothing_more_is_closed(sent: bytes, serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model, limits=Limits(seconds=0.3))
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(sent)
        received = b"".join(iter(lambda: link.recv(4096), b""))
    assert received.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")


def test_little_time_for_answers_is_not_little_time_for_headers(serve: Serve, color_model: Path) -> None:
    """A client that is late with them would not learn why its connection was closed."""
    server = serve(color=color_model, limits=Limits(seconds=0.01))
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=0.5) as link:
        with pytest.raises(TimeoutError):
            link.recv(1)
        link.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        link.settimeout(20)
        assert link.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_arrive_in_time_is_408(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model, limits=Limits(seconds=0.3))
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert link.recv(4096).startswith(b"HTTP/1.1 408")
    assert server.samples("mobilenets_held_bytes") == {"": 0}


def test_the_end_of_a_server_waits_for_what_it_accepted(serve: Serve, held: Holding, encoded: Encode) -> None:
    source, turns = held
    server = serve(source)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(server.ask, "/predict", encoded("red")) for _ in range(3)]
        until(lambda: accepted(server) == 3)
        server.server.should_exit = True
        until(lambda: not server.server.servers[0].is_serving())
        turns.release(3)
        answers = [one.result() for one in asked]
    assert [one.status for one in answers] == [200, 200, 200]
    assert {one.headers["Connection"] for one in answers} == {"close"}  # or clients would ask once more on it, in vain
    with pytest.raises(urllib3.exceptions.HTTPError):
        server.get("/v2/health/live")


def test_a_reload_answers_old_requests_with_the_old_model_and_new_ones_with_the_new(
    serve: Serve, held: Holding, encoded: Encode
) -> None:
    source, turns = held
    server = serve(source, watch_s=0.05)
    old = server.models.of_name("held")
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(server.infer, "held", REQUEST)
        until(lambda: accepted(server) == 1)
        source.path.write_text("100")
        until(lambda: server.models.of_name("held") is not old)
        turns.release()
        assert before.result().json()["outputs"][0]["data"] == [1.0, 1.0, 1.0]
        after = pool.submit(server.infer, "held", REQUEST)
        turns.release()
        assert after.result().json()["outputs"][0]["data"] == [101.0, 101.0, 101.0]
    assert server.samples("mobilenets_reloads_total") == {'{model="held",outcome="done"}': 1}


def test_a_request_whose_body_arrives_during_a_reload_is_answered_by_the_old_model(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, watch_s=0.05)
    old = server.models.of_name("held")
    body = json.dumps(REQUEST).encode()
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = f"POST /v2/models/held/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + body[:100])
        until(lambda: bool(server.models._users[old]))
        source.path.write_text("100")
        until(lambda: server.models.of_name("held") is not old)
        client.sendall(body[100:])
        turns.release()
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"[1.0,1.0,1.0]" in answer.replace(b" ", b"")
    until(lambda: not any(thread.is_alive() for thread in old.batcher._threads))


REQUEST = {"inputs": [{"name": "image", "shape": [1, 3, 16, 16], "datatype": "FP32", "data": [1.0] * 768}]}


def test_a_model_that_is_broken_is_not_taken_until_it_is_whole_again(serve: Serve, held: Holding) -> None:
    source, turns = held
    server = serve(source, watch_s=0.05)
    source.path.write_text("no number")
    until(lambda: server.samples("mobilenets_reloads_total") == {'{model="held",outcome="failed"}': 1})
    turns.release()
    assert server.infer("held", REQUEST).status == 200
    source.path.unlink()
    until(lambda: server.samples("mobilenets_reloads_total") == {'{model="held",outcome="failed"}': 2})
    source.path.write_text("3")
    until(lambda: server.samples("mobilenets_reloads_total").get('{model="held",outcome="done"}') == 1)
    turns.release()
    assert server.infer("held", REQUEST).json()["outputs"][0]["data"] == [4.0, 4.0, 4.0]


def test_a_key_is_asked_for_everywhere_but_for_health_and_the_page(serve: Serve, color_model: Path, encoded: Encode) -> None:
    server = serve(color=color_model, access=Access(key="secret"))
    for path in ("/v2/health/live", "/v2/health/ready", "/"):
        assert server.get(path).status == 200
    for path in ("/v2", "/v2/models/color", "/metrics", "/openapi.json", "/nowhere"):
        refused = server.get(path)
        assert "API key" in server.refusal(refused, 401)
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert server.get(path, Authorization="Bearer wrong").status == 401
    assert server.ask("/predict", encoded()).status == 401
    for headers in ({"Authorization": "Bearer secret"}, {"X-API-Key": "secret"}):
        assert server.ask("/predict", encoded(), headers=headers).status == 200


def test_other_sites_may_ask_only_if_they_are_named(serve: Serve, color_model: Path) -> None:
    closed = serve(color=color_model)
    named = serve(color=color_model, access=Access(origins=("https://example.org",)))
    for server, origin, allowed in (
        (closed, "https://example.org", None),
        (named, "https://example.org", "https://example.org"),
        (named, "https://example.com", None),
    ):
        assert server.get("/v2", Origin=origin).headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"Origin": "https://example.com"}, "pages of 'https://example.com' may not send requests"),
        ({"Access-Control-Request-Method": "DELETE"}, "GET and POST, not with 'DELETE'"),
        ({"Access-Control-Request-Private-Network": "true"}, "private network"),
    ],
)
def test_a_browser_that_asks_in_vain_for_leave_gets_the_reason_in_json(
    serve: Serve, color_model: Path, asked: dict[str, str], reason: str
) -> None:
    server = serve(color=color_model, access=Access(origins=("https://example.org",)))
    allowed = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert server.ask("/predict", method="OPTIONS", headers=allowed).status == 200
    refused = server.ask("/predict", method="OPTIONS", headers=allowed | asked)
    assert reason in server.refusal(refused, 400)
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.headers["Access-Control-Allow-Methods"] == "GET, POST"
    named = asked.get("Origin") is None
    assert (refused.headers.get("Access-Control-Allow-Origin") == "https://example.org") == named
    assert server.samples("mobilenets_rejected_total")['{reason="request"}'] == 1


def test_a_request_has_a_number_and_may_bring_its_own(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model)
    assert server.get("/v2", **{"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    given = server.get("/v2", **{"X-Request-Id": "two words"}).headers["X-Request-Id"]
    assert given != "two words"
    assert given != server.get("/v2").headers["X-Request-Id"]


def test_metrics_count_requests_and_time_every_stage(serve: Serve, color_model: Path, encoded: Encode) -> None:
    server = serve(color=color_model)
    for _ in range(3):
        assert server.ask("/predict", encoded()).status == 200
    assert server.ask("/predict", b"no image").status == 422
    text = server.get("/metrics").data.decode()
    assert 'mobilenets_requests_total{endpoint="/predict",model="color",status="200"} 3.0' in text
    assert 'mobilenets_requests_total{endpoint="/predict",model="color",status="422"} 1.0' in text
    stages = server.samples("mobilenets_stage_seconds_count")
    assert {stages[f'{{model="color",stage="{stage}"}}'] for stage in ("prepare", "network", "answer")} == {3}
    assert {stages[f'{{model="color",stage="{stage}"}}'] for stage in ("receive", "queue")} == {4}
    assert server.samples("mobilenets_batch_images_sum") == {'{model="color"}': 3}

"""Bodies: each arrives whole and in its place, however it comes, and what is refused does not disturb the next request."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message
from tests.serve.running import Running, until

from mobilenets.serve.bodies import received
from mobilenets.serve.connections import LINK, Arrival
from mobilenets.serve.limits import Held, Limits, Share

Serve = Callable[..., Running]

IMAGES = 48  # of 3 x 16 x 16 in FP32: 147 kB, more than is read at once
TENSOR = np.random.default_rng(0).normal(size=(IMAGES, 3, 16, 16)).astype("<f4")


def inference(tensor: np.ndarray, *headers: str, padding: int = 0, chunked: bool = False) -> bytes:
    """A request with a binary tensor, as it goes over the wire.

    Args:
        tensor: N 3 16 16.
        headers: further ones.
        padding: spaces in the JSON, which shift the tensor.
        chunked: whether the body comes in chunks, without its length.
    """
    one = {"name": "image", "shape": tensor.shape, "datatype": "FP32", "parameters": {"binary_data_size": tensor.nbytes}}
    head = (json.dumps({"inputs": [one]}) + " " * padding).encode()
    body = head + tensor.tobytes()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    lines = [
        "POST /v2/models/color/infer HTTP/1.1",
        "Host: a",
        f"Inference-Header-Content-Length: {len(head)}",
        length,
        *headers,
    ]
    start = "\r\n".join([*lines, "", ""]).encode()
    if not chunked:
        return start + body
    parts = [body[i : i + 50_000] for i in range(0, len(body), 50_000)]
    return start + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Client:
    """One connection.

    Args:
        link: is open.
    """

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._received = b""

    def answer(self) -> tuple[int, dict[str, object]]:
        """The status and the JSON of the next answer."""
        head, _, self._received = self._until(lambda found: b"\r\n\r\n" in found).partition(b"\r\n\r\n")
        (length,) = (int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        found = self._until(lambda found: len(found) >= length)
        body, self._received = found[:length], found[length:]
        return int(head.split()[1]), json.loads(body)

    def _until(self, enough: Callable[[bytes], bool]) -> bytes:
        while not enough(self._received):
            more = self.link.recv(65_536)
            assert more, "the server closed the connection"
            self._received += more
        return self._received


@contextmanager
def connected(server: Running) -> Iterator[Client]:
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        yield Client(link)


def logits(found: tuple[int, dict[str, object]]) -> list[float]:
    status, data = found
    assert status == 200, data
    outputs = data["outputs"]
    assert isinstance(outputs, list)
    values: list[float] = outputs[0]["data"]
    return values


@pytest.fixture(scope="module")
def expected(both: Running) -> list[float]:
    """The logits of `TENSOR`, asked for image by image, in bodies that arrive at once."""
    found = []
    for image in TENSOR:
        with connected(both) as client:
            client.link.sendall(inference(image[np.newaxis]))
            found += logits(client.answer())
    return found


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 3_000_000])
@pytest.mark.parametrize("header", ["Accept: */*", "Connection: close", "Expect: 100-continue"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [30_000, 10_000_000])
def test_a_body_arrives_whole(
    padding: int, header: str, chunked: bool, step: int, both: Running, expected: list[float]
) -> None:
    request = inference(TENSOR, header, padding=padding, chunked=chunked)
    start = request.index(b"\r\n\r\n") + 4
    with connected(both) as client:
        client.link.sendall(request[:start])
        if header.startswith("Expect"):
            assert client.link.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for i in range(start, len(request), step):
            client.link.sendall(request[i : i + step])
        assert logits(client.answer()) == pytest.approx(expected, abs=1e-5)


def test_requests_that_are_sent_at_once_are_answered_in_turn(both: Running, expected: list[float]) -> None:
    counts = (IMAGES, 1, 2, IMAGES, 3)
    sent = b"".join(inference(TENSOR[:count]) for count in counts)
    with connected(both) as client, ThreadPoolExecutor(1) as pool:
        pool.submit(client.link.sendall, sent)
        found = [len(logits(client.answer())) for _ in counts]
    assert found == [count * len(expected) // IMAGES for count in counts]


@pytest.mark.parametrize(
    ("limits", "status"), [(Limits(held_bytes=100_000), 503), (Limits(size_bytes=100_000), 413), (Limits(images=2), 413)]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_request_that_is_refused_leaves_the_connection_to_the_next(
    limits: Limits, status: int, at_once: bool, serve: Serve, color_model: Path
) -> None:
    server = serve(color=color_model, limits=limits)
    request = inference(np.concatenate([TENSOR] * 4))  # more than a socket holds of what nobody reads
    with connected(server) as client, ThreadPoolExecutor(1) as pool:
        if at_once or limits.images == 2:
            sent = pool.submit(client.link.sendall, request)
            assert client.answer()[0] == status
            sent.result()
        else:
            client.link.sendall(request[:120_000])
            assert client.answer()[0] == status
            client.link.sendall(request[120_000:])
        client.link.sendall(inference(TENSOR[:1]))
        assert len(logits(client.answer())) == 3
    assert server.samples("mobilenets_held_bytes") == {"": 0}


def test_a_client_that_hangs_up_within_a_body_is_forgotten(serve: Serve, color_model: Path) -> None:
    server = serve(color=color_model)
    with connected(server) as client:
        client.link.sendall(inference(TENSOR)[:-1])
        until(lambda: server.samples("mobilenets_held_bytes")[""] > TENSOR.nbytes - 1)
    until(lambda: server.samples("mobilenets_rejected_total") == {'{reason="gone"}': 1})
    assert server.samples("mobilenets_held_bytes") == {"": 0}


def test_tensors_in_large_bodies_are_aligned() -> None:
    async def aligned(at: int) -> bool:
        arrival = Arrival(bytearray(48), 48, Share(Held(1000)), at)
        return np.frombuffer(arrival.data[at : at + 8], "<f8").flags.aligned

    assert all(asyncio.run(aligned(at)) for at in range(40))


def test_only_ascii_digits_are_a_length() -> None:
    async def body() -> bytes:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"whole"}

        link = SimpleNamespace(left=0)
        scope = {"type": "http", "headers": [(b"content-length", b"\xb2")], "extensions": {LINK: link}}
        found = await received(Request(scope, receive), Limits(), Share(Held(1000)), deadline=time.monotonic() + 20)
        return bytes(found)

    assert asyncio.run(body()) == b"whole"

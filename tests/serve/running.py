"""`running`: a server in a thread on a free port, and what asks it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from mobilenets.serve.app import Access, application, service_of
from mobilenets.serve.limits import Limits
from mobilenets.serve.metrics import Metrics
from mobilenets.serve.model import Source
from mobilenets.serve.models import Models
from mobilenets.serve.server import Server, bound, rpc_of


@dataclass
class Running:
    """A server that answers.

    Args:
        url: its address.
        server, models, metrics: its parts.
        grpc: host and port of gRPC.
    """

    url: str
    server: Server
    models: Models
    metrics: Metrics
    grpc: str = ""

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=20, maxsize=32)

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def ask(
        self, path: str, body: bytes | None = None, *, method: str = "POST", headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """The response to a request."""
        return self._pool.request(method, self.url + path, body=body, headers=headers)

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """The response to a GET."""
        return self.ask(path, method="GET", headers=headers)

    def infer(self, model: str, request: object, **headers: str) -> urllib3.BaseHTTPResponse:
        """The response to a request of the protocol in JSON."""
        return self.ask(f"/v2/models/{model}/infer", json.dumps(request).encode(), headers=headers)

    def refusal(self, response: urllib3.BaseHTTPResponse, status: int) -> str:
        """The reason in a response with this status."""
        assert response.status == status, response.data
        data: dict[str, Any] = response.json()
        assert data.keys() == {"error"}
        return str(data["error"])

    def samples(self, name: str) -> dict[str, float]:
        """The samples of a metric, by their labels as Prometheus writes them."""
        found = {}
        for line in self.metrics.text().decode().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")):
                key, _, value = line.rpartition(" ")
                found[key.removeprefix(name)] = float(value)
        return found


@contextlib.contextmanager
def running(
    sources: Sequence[Source], *, limits: Limits, access: Access, watch_s: float | None = None, grpc: int | None = None
) -> Iterator[Running]:
    """A server until the block ends; then it has answered what it accepted."""
    metrics = Metrics()
    models = Models(sources, limits, metrics)
    listens = threading.Event()
    service = service_of(models, limits, metrics, access)
    rpc = rpc_of(service, "127.0.0.1", grpc, access) if grpc is not None else None
    server = Server(application(service, access, watch_s=watch_s), service, listens.set, rpc)
    listening = bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert listens.wait(20)
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", server, models, metrics, rpc.address if rpc else "")
    finally:
        server.should_exit = True
        thread.join()


def form(files: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The body of a multipart form with these files, and its headers."""
    body, kind = urllib3.encode_multipart_formdata([("image", (name, data, "image/png")) for name, data in files.items()])
    return body, {"Content-Type": kind}


def until(true: Callable[[], bool]) -> None:
    """Wait for what other threads do; a test that waits for long fails."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)

"""Under load nothing is lost; `benchmarks/serve.py` measures how fast it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import Running

from mobilenets.serve.limits import Limits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.slow


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What asks a server in a benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("serve_load")


def counted(server: Running) -> dict[int, float]:
    """The answers of `/predict` by status, as the server counts them."""
    samples = server.samples("mobilenets_requests_total")
    return {int(labels.partition('status="')[2][:3]): count for labels, count in samples.items() if "/predict" in labels}


def test_each_of_many_clients_gets_every_answer(
    load: Any, serve: Callable[..., Running], color_model: Path, encoded: Callable[..., bytes]
) -> None:
    server = serve(color=color_model)
    port = int(server.url.rpartition(":")[2])
    requests = [load.request("/predict", encoded(color, (300, 200))) for color in ("red", "green", "blue")]
    found = load.closed_loop(port, requests, clients=64, seconds=3)
    assert not found.lost
    assert found.statuses.keys() == {200}
    assert counted(server) == dict(found.statuses)


def test_overload_is_refused_and_what_was_accepted_is_answered_in_time(
    load: Any, serve: Callable[..., Running], color_model: Path, encoded: Callable[..., bytes]
) -> None:
    server = serve(color=color_model, limits=Limits(queue=8))
    port = int(server.url.rpartition(":")[2])
    requests = [load.request("/predict", encoded("red", (1500, 1000)))]
    capacity = load.closed_loop(port, requests, clients=8, seconds=2).rate
    before = counted(server)
    found = load.open_loop(port, requests, rate=4 * capacity, seconds=4)
    assert not found.lost
    assert found.statuses.keys() == {200, 503}
    assert {status: count - before.get(status, 0) for status, count in counted(server).items()} == dict(found.statuses)
    assert server.samples("mobilenets_queue_requests") == {'{model="color"}': 0}
    assert server.samples("mobilenets_held_bytes") == {"": 0}

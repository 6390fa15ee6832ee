"""Latencies over ssh, from a server that the tests start on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmark.sshd import Sshd, running

from mobilenets.benchmark.ssh import Host
from mobilenets.benchmark.tools import ToolError
from mobilenets.data.samples import Dataset
from mobilenets.exporters.lower import lower
from mobilenets.model import Model
from mobilenets.runtime.manifest import manifest_of
from mobilenets.search.devices import There
from mobilenets.search.latency import LatencyTable
from mobilenets.search.pieces import nothing, pieces, pooled
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """An SSH server of this machine."""
    with running(tmp_path / "sshd") as found:
        yield found


def test_a_block_takes_longer_than_nothing_on_the_other_machine(
    server: Sshd, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{server.client('-o', 'StrictHostKeyChecking=accept-new')}:{os.environ['PATH']}")
    there = There(Host(server.address, server.remote), "onnx")
    done: list[int] = []
    least, block = there.latencies_ms(
        [nothing(manifest_of(model.spec)).graph, pooled(pieces(lower(model))[1].graph)], done.append
    )
    assert 0 < least < block
    assert sum(done) == 2
    assert there.device.machine == server.address
    (server.folder / "authorized_keys").write_text("")
    with pytest.raises(ToolError, match="Permission denied"):
        there.latencies_ms([nothing(manifest_of(model.spec)).graph])


def test_the_command_searches_by_latencies_of_the_other_machine(
    server: Sshd, images: Path, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    for _ in train(model, dataset, recipe, tmp_path / "start"):
        pass
    path = f"{server.client('-o', 'StrictHostKeyChecking=accept-new')}:{os.environ['PATH']}"
    asked = ["--start", "start", "--max-ms", "1000", "--fast", "--ladder", "0", "--out", "found", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mobilenets", "search", str(images), *asked, "--ssh", server.address, "--remote", server.remote],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert server.address in found["device"]
    assert all(0 < network["measured_ms"] < 1000 for network in found["networks"])
    table = LatencyTable.read(tmp_path / "found" / "latency.jsonl")
    assert table.device.machine == server.address
    assert len(table.wholes) == 1  # within the budget, the start is what is found

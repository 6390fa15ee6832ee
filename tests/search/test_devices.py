from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilenets.benchmark.adb import phone
from mobilenets.benchmark.ssh import Host
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.reference import run
from mobilenets.exporters.lower import lower
from mobilenets.model import Model
from mobilenets.runtime.manifest import manifest_of
from mobilenets.search.devices import Here, OnPhone, There
from mobilenets.search.latency import LatencyError
from mobilenets.search.pieces import OUTPUT, nothing, pieces, pooled

FAR = """
import json, sys
from pathlib import Path
from mobilenets.benchmark.row import Case, Row, to_flat
files = [argument for argument in sys.argv[1:] if argument.endswith("model.onnx")]
rows = [Row(Case("any", file, "onnx"), p50_ms=9.0, rounds_ms=(9.0, Path(file).stat().st_size / 1e6)) for file in files]
print(json.dumps({"rows": [to_flat(row) for row in rows]}))
"""


@pytest.fixture
def graphs(model: Model) -> list[Graph]:
    """Three pieces of a network."""
    return [piece.graph for piece in pieces(lower(model))[1:4]]


def test_another_machine_measures_each_graph_and_its_fastest_round_counts(
    graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far.py").write_text(FAR)
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'far.py'))}"
    there = There(Host("pi@far", command), "onnx")
    sizes = [sum(tensor.nbytes for tensor in graph.tensors.values()) / 1e6 for graph in graphs]
    assert there.latencies_ms(graphs) == pytest.approx(sizes, abs=0.02)  # with a header of some kilobytes
    assert there.device.machine == "pi@far"


def test_a_phone_measures_with_the_program_of_the_runtime(
    graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_litert")
    fake = Path(__file__).parents[1] / "benchmark" / "fake_adb.py"
    adb = tmp_path / "bin" / "adb"
    adb.parent.mkdir()
    adb.write_text(f"#!{sys.executable}\n{fake.read_text()}")
    adb.chmod(0o755)
    (adb.parent / "scenario").write_text("fine")
    monkeypatch.setenv("PATH", f"{adb.parent}:/usr/bin:/bin")
    tool = tmp_path / "benchmark_model"
    tool.write_bytes(b"x")
    done: list[int] = []
    device = OnPhone(phone(), "tflite", tool)
    assert device.latencies_ms(graphs, done.append) == [12.0, 12.0, 12.0]  # what the program prints
    assert sum(done) == len(graphs)
    assert device.device.machine == "Toy Phone 3"


def test_a_runtime_that_nothing_is_exported_to_is_refused(graphs: list[Graph]) -> None:
    with pytest.raises(LatencyError, match="no exporter writes files for 'caffe'"):
        Here("caffe").latencies_ms(graphs)


def test_a_piece_is_measured_with_the_mean_of_its_map(graphs: list[Graph]) -> None:
    channels, height, width = graphs[0].shapes()[INPUT]
    x = np.random.default_rng(0).normal(size=(1, channels, height, width)).astype(np.float32)
    whole, mean = run(graphs[0], x)[OUTPUT], run(pooled(graphs[0]), x)[OUTPUT]
    assert mean == pytest.approx(whole.mean((2, 3), keepdims=True), abs=1e-5)
    assert pooled(pooled(graphs[0])).operators == pooled(graphs[0]).operators  # one place is no map


def test_the_empty_piece_costs_less_than_a_block(model: Model, graphs: list[Graph]) -> None:
    empty = nothing(manifest_of(model.spec)).graph
    least, block = Here("onnx", rounds=3, seconds=0.002).latencies_ms([empty, pooled(graphs[0])])
    assert 0 < least < block

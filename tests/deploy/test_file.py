"""A graph's file: what is saved is loaded, and what is damaged is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, MakeGraph

from mobilenets.deploy import operators as op
from mobilenets.deploy.file import load, save, save_without
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.errors import GraphError, MobileNetsError
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.runtime.engines.native import NativeEngine


@pytest.fixture(scope="module")
def small() -> Graph:
    return lower(create(SPECS["v3 small"]()))


def test_a_saved_graph_is_loaded_as_it_was(small: Graph, tmp_path: Path) -> None:
    save(small, tmp_path / "graph.safetensors")
    again = load(tmp_path / "graph.safetensors")
    assert (again.operators, again.outputs, again.manifest) == (small.operators, small.outputs, small.manifest)
    assert again.tensors.keys() == small.tensors.keys()
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in small.tensors.items())


@pytest.mark.parametrize(
    ("operators", "problem"),
    [
        ((op.Add(name="a", inputs=(INPUT, "b"), output="a"),), "'a' reads 'b', which nothing before it makes"),
        ((op.Add(name="a", inputs=(INPUT, INPUT), output=INPUT),), f"'{INPUT}' is made twice"),
        ((op.Conv(name="c", inputs=(INPUT,), output="c", weight="w", bias="b"),), "'c' has no weight 'w'"),
        ((op.Dense(name="d", inputs=(INPUT,), output="d", weight="w", bias="b"),), "'d' reads shapes"),
        ((op.Pool(name="p", inputs=(INPUT,), output="p", kernel=(5, 1)),), "'p' has a window larger than its map, 4 x 4"),
        ((op.Rows(name="r", inputs=(INPUT,), output="r", columns=2),), "'r' makes rows of 2 from 1 channels"),
        ((op.Rows(name="", inputs=(INPUT,), output="r", columns=1),), "makes 'r' is called ''; neither name may be empty"),
        ((op.Resize(name="r", inputs=(INPUT,), output="r", size=(1 << 16, 1 << 16)),), "'r' has 4,294,967,296 numbers"),
        ((op.MatMul(name="m", inputs=(INPUT, INPUT), output="m", factor=float("nan")),), "'m' has the factor nan"),
    ],
)
def test_operators_that_are_no_network_are_refused(
    make_graph: MakeGraph, operators: tuple[op.Operator, ...], problem: str
) -> None:
    with pytest.raises(GraphError, match=problem.replace("(", r"\(")):
        make_graph(operators).check()


def test_weights_are_saved_in_the_order_of_their_axes(make_graph: MakeGraph, tmp_path: Path) -> None:
    weight = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1))
    tensors = {"w": weight, "b": np.zeros(2, np.float32)}
    graph = make_graph((op.Conv(name="a", inputs=(INPUT,), output="out", weight="w", bias="b"),), tensors, channels=3)
    save(graph, tmp_path / "graph.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "graph.safetensors").tensors["w"], weight)


@pytest.mark.parametrize("damage", ["a bit", "zeros", "the header"])
@pytest.mark.parametrize("opened", [load, NativeEngine])
def test_weights_that_changed_on_the_disk_are_told_by_the_checksum(
    opened: Callable[[Path], object], damage: str, small: Graph, tmp_path: Path
) -> None:
    if opened is NativeEngine:
        pytest.importorskip("mobilenets_native")
    path = tmp_path / "network.graph"
    save(small, path)
    opened(path)
    data = bytearray(path.read_bytes())
    numbers = 8 + int.from_bytes(data[:8], "little")
    if damage == "a bit":
        data[numbers + 1000] ^= 1
    elif damage == "zeros":
        data[numbers:] = bytes(len(data) - numbers)
    else:
        at = data.index(b"mobilenet_v3_small")
        data[at : at + 9] = b"MOBILENET"
    path.write_bytes(data)
    with pytest.raises(MobileNetsError, match="is damaged: its checksum differs") as caught:
        opened(path)
    assert "export the model again" in caught.value.hint


def test_the_same_graph_is_the_same_bytes(small: Graph, tmp_path: Path) -> None:
    path = tmp_path / "graph.safetensors"
    files = set()
    for _ in range(8):  # safetensors writes texts of the header in an order that changes
        save(small, path)
        files.add(path.read_bytes())
    assert len(files) == 1


def test_a_graph_without_a_checksum_is_read_as_one_of_an_earlier_version(small: Graph, tmp_path: Path) -> None:
    save_without(small, tmp_path / "network.graph", b"")
    assert b'"sha256"' not in (tmp_path / "network.graph").read_bytes()
    again = load(tmp_path / "network.graph")
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in small.tensors.items())


@pytest.mark.slow
def test_damaged_files_end_in_an_error(small: Graph, tmp_path: Path) -> None:
    save_without(small, tmp_path / "graph.safetensors", b"")  # without a checksum, so that the damage is read
    data = (tmp_path / "graph.safetensors").read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    random = np.random.default_rng(0)
    damaged = tmp_path / "damaged.safetensors"
    refused = 0
    for _ in range(400):
        mutant = bytearray(data[: int(random.integers(0, len(data)))] if random.random() < 0.2 else data)
        for place in random.integers(0, min(header, max(len(mutant), 1)), random.integers(1, 4)):
            if place < len(mutant):
                mutant[place] = random.integers(0, 256)
        damaged.write_bytes(mutant)
        try:
            load(damaged)
        except GraphError:
            refused += 1
    assert refused > 200

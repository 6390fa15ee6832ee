"""The native engine as WebAssembly against the reference executor: every operator, and files that are damaged."""

from __future__ import annotations

import platform
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, MakeGraph, make_graph, trained  # noqa: F401  # one is a fixture
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES as INT8_CASES
from tests.deploy.quantized import integers_for
from tests.deploy.test_operators import CASES, TENSORS, C, H, W
from tests.web.wasm import Jobs, Ran, node_here, node_on_arm, run_all, said

from mobilenets.deploy import file, reference
from mobilenets.deploy.arena import fused_plan, plan
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.lower import lower
from mobilenets.model import create

SEEDS = 12
MUTANTS = 400


RunAll = Callable[[Jobs], list[Ran]]


@pytest.fixture(scope="module", params=["engine.wasm", "engine_relaxed.wasm"])
def module(request: pytest.FixtureRequest, native_engine: Path) -> Path:
    """Each of the two modules that a browser chooses from."""
    return native_engine / str(request.param)


@pytest.fixture(scope="module", params=["wasm", "wasm_relaxed", "wasm_dot"])
def run(request: pytest.FixtureRequest, native_engine: Path) -> RunAll:
    """Runs graphs with each set of instructions: that of the first module, and those of the second on x86 and on Arm."""
    module = native_engine / ("engine.wasm" if request.param == "wasm" else "engine_relaxed.wasm")
    node = node_on_arm() if request.param == "wasm_dot" else node_here()
    if request.param == "wasm_relaxed" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("this processor takes the set for Arm")

    def ran(jobs: Jobs) -> list[Ran]:
        results = run_all(module, jobs, node=node)
        assert {result.facts["instructions"] for result in results} == {request.param}
        return results

    return ran


def test_operators_on_floats_are_those_of_the_reference(run: RunAll, make_graph: MakeGraph) -> None:  # noqa: F811
    x = np.random.default_rng(0).normal(0, 4, (1, C, H, W)).astype(np.float32)
    graphs = {
        name: make_graph(tuple(operators), TENSORS, height=H, width=W, channels=C, output="result")
        for name, operators in CASES.items()
    }
    for (name, graph), ran in zip(graphs.items(), run([(graph, x[0]) for graph in graphs.values()]), strict=True):
        expected = reference.run(graph, x)["result"]
        np.testing.assert_allclose(ran.outputs["result"], expected[0], rtol=2e-5, atol=2e-5, err_msg=name)


def test_operators_on_integers_are_those_of_the_reference_to_the_bit(run: RunAll) -> None:
    jobs: list[tuple[Graph, Any]] = []  # Any: images of several kinds of number
    for case in INT8_CASES.values():
        for seed in range(SEEDS):
            draw = np.random.default_rng(seed)
            graph = case.make(draw)
            jobs.append((graph, integers_for(graph, draw)[0]))
    for (graph, image), ran in zip(jobs, run(jobs), strict=True):
        expected = reference.run(graph, image[np.newaxis])["result"][0]
        assert ran.outputs["result"].dtype == expected.dtype
        np.testing.assert_array_equal(ran.outputs["result"], expected, err_msg=str(graph.operators[-1]))


@pytest.mark.parametrize("node", [node_here, node_on_arm])
def test_weights_of_the_least_integer_are_exact_too(node: Callable[[], tuple[str, ...]], native_engine: Path) -> None:
    """Products of bytes are not for them: what takes `wasm_dot` otherwise takes the set before it."""
    jobs: list[tuple[Graph, Any]] = []  # Any: as above
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        graph = INT8_CASES["conv"].make(draw)
        tensors = {**graph.tensors, "w": np.full_like(graph.tensors["w"], -128)}
        jobs.append((replace(graph, tensors=tensors), np.full_like(integers_for(graph, draw)[0], -128)))
    for (graph, image), ran in zip(jobs, run_all(native_engine / "engine_relaxed.wasm", jobs, node=node()), strict=True):
        assert ran.facts["instructions"] == "wasm_relaxed"
        np.testing.assert_array_equal(ran.outputs["result"], reference.run(graph, image[np.newaxis])["result"][0])


@pytest.mark.parametrize("name", ["v1", "v2", "v2 resnet", "v3 small", "v4 conv small"])
def test_networks_in_integers_are_those_of_the_reference_and_take_the_planned_memory(name: str, run: RunAll) -> None:
    model = trained(create(SPECS[name]()))
    contract = model.spec.input
    x = np.random.default_rng(0).uniform(-1, 1, (1, contract.channels, *contract.shape)).astype(np.float32)
    graph = quantized_by_min_max(lower(model), x)
    [ran] = run([(graph, x[0])])
    np.testing.assert_array_equal(ran.outputs["logits"], reference.run(graph, x)["logits"][0])
    assert ran.facts["arenaBytes"] <= max(plan(graph).size_bytes, fused_plan(graph).size_bytes)
    assert 0 < ran.facts["scratchBytes"] < 100_000


def test_damaged_files_end_in_an_error_with_a_text(module: Path, tmp_path: Path) -> None:
    whole = lower(trained(create(SPECS["v3 small"]())))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, *whole.manifest.input.shape)).astype(np.float32)
    file.save(quantized_by_min_max(whole, x), tmp_path / "network.graph")
    data = (tmp_path / "network.graph").read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    draw = random.Random(0)
    jobs = []
    for i in range(MUTANTS):
        mutant = bytearray(data)
        for _ in range(draw.choice((1, 2, 8))):
            mutant[draw.randrange(header if draw.random() < 0.9 else len(data))] = draw.randrange(256)
        if draw.random() < 0.2:
            mutant = mutant[: draw.randrange(len(mutant))]
        (tmp_path / f"{i}.graph").write_bytes(mutant)
        jobs.append({"graph": str(tmp_path / f"{i}.graph")})
    results = said(module, jobs, node=node_here())
    refused = [result for result in results if "error" in result]
    assert len(refused) > MUTANTS / 2
    assert [result for result in refused if result["trap"] or not result["error"]] == []


def test_without_the_compiler_the_page_is_built_without_the_engine(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "wasm.py"
    (tmp_path / "engine.wasm").write_bytes(b"of an earlier build")
    bare = [sys.executable, "-I", "-S", str(script), str(tmp_path)]  # without the packages that are installed
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "the page is built without our own engine" in done.stderr
    assert list(tmp_path.iterdir()) == []

"""The native engine's kernels for VNNI on 256 bits, on processors that lack it: other instructions compute its products."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES, integers_for
from tests.deploy.run_graph import built, output_of

from mobilenets.deploy import reference
from mobilenets.exporters.lower import lower
from mobilenets.model import create

library = pytest.importorskip("mobilenets_native")
pytestmark = pytest.mark.slow
SET = "emulated_vnni"


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run_graph` with the emulated kernels."""
    if platform.machine() not in ("x86_64", "AMD64") or "avx2" not in library.Engine.instruction_sets:
        pytest.skip("this processor does not have AVX2")
    if {"avx_vnni", "avx512_vnni"} & set(library.Engine.instruction_sets):
        pytest.skip("this processor has VNNI itself; other tests run it")
    return built(tmp_path_factory.mktemp("vnni"), {"MOBILENETS_EMULATED_VNNI": "ON"})


@pytest.mark.parametrize("name", [name for name in CASES if name != "argmax"])
def test_an_operator_on_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        graph = CASES[name].make(random)
        x = integers_for(graph, random)
        expected = np.ascontiguousarray(reference.run(graph, x)["result"])
        result = output_of(tool, graph, x, tmp_path, instructions=SET)
        np.testing.assert_array_equal(np.frombuffer(result, expected.dtype), expected.ravel())


@pytest.mark.parametrize("name", ["v2", "v3 small"])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    model = trained(create(SPECS[name]()))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, *model.spec.input.shape)).astype(np.float32)
    graph = quantized_by_min_max(lower(model), x)
    result = output_of(tool, graph, x, tmp_path, instructions=SET)
    np.testing.assert_array_equal(np.frombuffer(result, np.float32), reference.run(graph, x)["logits"].ravel())

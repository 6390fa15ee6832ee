"""The native engine's kernels for VNNI on 256 bits, on processors that lack it: other instructions compute its products."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from tests.deploy.run_graph import OPERATORS, assert_network_is_exact, assert_operator_is_exact, built, output_of

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


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_on_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    assert_operator_is_exact(name, lambda graph, x: output_of(tool, graph, x, tmp_path, instructions=SET))


@pytest.mark.parametrize("name", ["v2", "v3 small"])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    assert_network_is_exact(name, lambda graph, x: output_of(tool, graph, x, tmp_path, instructions=SET))

"""The native engine's NEON kernels, compiled for 64-bit Arm and run under an emulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES, integers_for
from tests.deploy.run_graph import built, output_of

from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.lower import lower
from mobilenets.model import create

pytestmark = pytest.mark.slow
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run_graph` for Arm."""
    settings = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": COMPILER,
        "CMAKE_EXE_LINKER_FLAGS": "-static",
    }
    return built(tmp_path_factory.mktemp("arm"), settings, (COMPILER, EMULATOR))


def emulated(tool: Path, graph: Graph, x: np.ndarray, folder: Path, *, processor: str, instructions: str) -> bytes:
    """The only output, as bytes."""
    return output_of(tool, graph, x, folder, instructions=instructions, emulator=(EMULATOR, "-cpu", processor))


@pytest.mark.parametrize("name", [name for name in CASES if name != "argmax"])
def test_an_operator_on_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        graph = CASES[name].make(random)
        x = np.ascontiguousarray(integers_for(graph, random))
        result = emulated(tool, graph, x, tmp_path, processor="max", instructions="neon")
        expected = np.ascontiguousarray(reference.run(graph, x)["result"])
        np.testing.assert_array_equal(np.frombuffer(result, expected.dtype), expected.ravel())


@pytest.mark.parametrize(("processor", "instructions"), [("max", "neon"), ("cortex-a53", "")], ids=["neon", "plain"])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(
    processor: str, instructions: str, tool: Path, tmp_path: Path
) -> None:
    """A processor without the dot product is given the plain kernels, and does not meet an unknown instruction."""
    model = trained(create(SPECS["v2"]()))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, *model.spec.input.shape)).astype(np.float32)
    graph = quantized_by_min_max(lower(model), x)
    result = emulated(tool, graph, x, tmp_path, processor=processor, instructions=instructions)
    np.testing.assert_array_equal(np.frombuffer(result, np.float32), reference.run(graph, x)["logits"].ravel())

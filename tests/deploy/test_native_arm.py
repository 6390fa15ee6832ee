"""The native engine's NEON kernels, compiled for 64-bit Arm and run under an emulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.deploy.run_graph import OPERATORS, OutputOf, assert_network_is_exact, assert_operator_is_exact, built, output_of

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


def emulated(tool: Path, folder: Path, *, processor: str, instructions: str) -> OutputOf:
    """Runs graphs on a processor."""
    emulator = (EMULATOR, "-cpu", processor)
    return lambda graph, x: output_of(tool, graph, x, folder, instructions=instructions, emulator=emulator)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_on_integers_is_that_of_the_reference_to_the_bit(name: str, tool: Path, tmp_path: Path) -> None:
    assert_operator_is_exact(name, emulated(tool, tmp_path, processor="max", instructions="neon"))


@pytest.mark.parametrize(("processor", "instructions"), [("max", "neon"), ("cortex-a53", "")], ids=["neon", "plain"])
def test_a_network_in_integers_is_that_of_the_reference_to_the_bit(
    processor: str, instructions: str, tool: Path, tmp_path: Path
) -> None:
    """A processor without the dot product is given the plain kernels, and does not meet an unknown instruction."""
    assert_network_is_exact("v2", emulated(tool, tmp_path, processor=processor, instructions=instructions))

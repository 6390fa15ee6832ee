"""The program that runs a graph with the native engine: built for another processor, or with other kernels, and run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES, integers_for

from mobilenets.deploy import file, reference
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.lower import lower
from mobilenets.model import create

OutputOf = Callable[[Graph, NDArray[Any]], bytes]
"""Runs a graph on numbers; the bytes of its only output."""

OPERATORS = [name for name in CASES if name != "argmax"]

NATIVE = Path(__file__).parents[2] / "native"


def built(folder: Path, settings: dict[str, str], programs: tuple[str, ...] = ()) -> Path:
    """`run_graph`, built by CMake with some settings; the test is skipped where CMake or one of the programs is missing."""
    missing = [program for program in (*programs, "cmake") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    options = [f"-D{name}={value}" for name, value in {"MOBILENETS_PYTHON": "OFF", "MOBILENETS_TOOL": "ON", **settings}.items()]
    subprocess.run(["cmake", "-S", NATIVE, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "run_graph"


def output_of(
    tool: Path, graph: Graph, x: NDArray[Any], folder: Path, *, instructions: str, emulator: tuple[str, ...] = ()
) -> bytes:
    """The only output, computed by two threads, as bytes."""
    file.save(graph, folder / "network.graph")
    np.ascontiguousarray(x).tofile(folder / "images")
    files = [str(folder / name) for name in ("network.graph", "images", "outputs")]
    subprocess.run([*emulator, str(tool), *files, "2", "fastest", instructions], check=True)
    return (folder / "outputs").read_bytes()


def assert_operator_is_exact(name: str, run: OutputOf) -> None:
    """An operator on integers is that of the reference to the bit."""
    for seed in range(3):
        random = np.random.default_rng(seed)
        graph = CASES[name].make(random)
        x = np.ascontiguousarray(integers_for(graph, random))
        result = run(graph, x)
        expected = np.ascontiguousarray(reference.run(graph, x)["result"])
        np.testing.assert_array_equal(np.frombuffer(result, expected.dtype), expected.ravel())


def assert_network_is_exact(name: str, run: OutputOf) -> None:
    """A network in integers is that of the reference to the bit."""
    model = trained(create(SPECS[name]()))
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, *model.spec.input.shape)).astype(np.float32)
    graph = quantized_by_min_max(lower(model), x)
    result = run(graph, x)
    np.testing.assert_array_equal(np.frombuffer(result, np.float32), reference.run(graph, x)["logits"].ravel())

"""The program that runs a graph with the native engine: built for another processor, or with other kernels, and run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph

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

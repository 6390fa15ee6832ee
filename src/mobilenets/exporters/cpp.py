"""Self-contained C++: a folder of kernels, weights and a schedule, for microcontrollers and any device with a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy.cpp.outputs import Returned, parsed, returned
from mobilenets.deploy.cpp.write import write_cpp
from mobilenets.deploy.graph import Graph
from mobilenets.errors import CheckpointError, ExportError, GraphError
from mobilenets.exporters.format import Facts, Format
from mobilenets.exporters.vendor import to_stderr
from mobilenets.runtime.engines.base import Engine, Outputs, first_line
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAGS = ("-std=c++20", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off")
"""The compiler flags; `CMakeLists.txt` has the same."""

SOURCES = ("network.cpp", "weights.cpp", "check.cpp")
"""The sources of the program that is compared with the model."""

_COMPILERS = ("c++", "g++", "clang++")


def compiler() -> str | None:
    """The C++ compiler of this machine, `$CXX` if that is set; None if there is none."""
    return next((found for name in (os.environ.get("CXX", ""), *_COMPILERS) if name and (found := shutil.which(name))), None)


class CppEngine(Engine):
    """Runs an exported folder: compiles it into a program that reads images from files.

    Args:
        folder: the exported folder.
        manifest: the manifest of the network.
        returned: its outputs.

    Raises:
        CheckpointError: it does not compile.
    """

    def __init__(self, folder: Path, manifest: Manifest, returned: tuple[Returned, ...]) -> None:
        self.source = str(folder)
        self.outputs = tuple(output.name for output in returned)
        self._returned = returned
        self.input_shape = manifest.input.shape
        self._manifest = manifest
        self._scratch = tempfile.TemporaryDirectory(prefix="mobilenets-cpp-")
        self._program = Path(self._scratch.name, "check")
        command = [str(compiler()), *FLAGS, "-O2", *(str(folder / name) for name in SOURCES), "-o", str(self._program)]
        to_stderr("a C++ compiler builds the network to compare it, which can take a minute")
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            self._scratch.cleanup()
            raise CheckpointError(f"'{folder}' does not compile: {made.stderr.strip()[:_SAID]}")

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images N C H W.

        Raises:
            CheckpointError: the program failed.
        """
        images, outputs = Path(self._scratch.name, "images"), Path(self._scratch.name, "outputs")
        np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).tofile(images)
        ran = subprocess.run([self._program, "floats", images, outputs], capture_output=True, text=True, check=False)
        if ran.returncode:
            raise CheckpointError(f"'{self.source}' cannot run: {ran.stderr.strip() or ran.returncode}")
        return parsed(outputs.read_bytes(), self._returned)

    def manifest(self) -> Manifest:
        """The manifest that was exported."""
        return self._manifest

    def close(self) -> None:
        """Remove the program."""
        self._scratch.cleanup()


def _write(graph: Graph, path: Path, batch: int | None) -> Facts:
    if batch not in (None, 1):
        raise ExportError(f"exported C++ runs one image at a time, not {batch}", hint="leave --batch out")
    try:
        return Facts(memory=write_cpp(graph, path))
    except GraphError as error:
        raise ExportError(
            f"'{graph.manifest.model}' cannot be exported to C++: {error}", hint="--to native runs every network"
        ) from error


def _version() -> str:
    found = compiler()
    if found is None:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return f"by {first_line(Exception(said.stdout))}"


def _unchecked() -> str:
    return "" if compiler() else "not checked: no C++ compiler"


_SAID = 2000  # most characters of compiler output in an error message

CPP = Format(
    "C++",
    _write,
    lambda path, graph: CppEngine(path, graph.manifest, returned(graph)),
    _version,
    batch=1,
    any_batch=False,
    raw_too=False,
    unchecked=_unchecked,
)
"""Folders of C++ source: kernels, packed weights, `CMakeLists.txt`, an interface of two functions, an example."""

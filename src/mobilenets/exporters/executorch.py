"""ExecuTorch: a `.pte` file for XNNPACK, with the manifest in a `.json` file beside it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy.graph import Graph
from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.exporters import vendor
from mobilenets.exporters.format import Facts, Format
from mobilenets.exporters.program import exported, saved
from mobilenets.exporters.vendor import Vendor
from mobilenets.runtime.engines.base import Engine, FastPath, Outputs
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
from mobilenets.runtime.manifest import write_beside

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VENDORS = Path(__file__).with_name("vendors")
VENDOR = Vendor("ExecuTorch", "executorch.exir", ("executorch==1.5.1", "torchao==0.18.0"), 334, _VENDORS / "executorch.py")


def write_executorch(graph: Graph, path: Path, batch: int | None = 1) -> Facts:
    """Write a graph as a `.pte` file with its manifest beside it; returns how many operators are delegated to XNNPACK.

    ExecuTorch's converter runs in a separate process; if it is missing, it is first installed into an environment of its own.

    Raises:
        ExportError: ExecuTorch cannot convert it.
    """
    with tempfile.TemporaryDirectory() as folder:
        program, facts = Path(folder, "program.pt2"), Path(folder, "facts.json")
        saved(exported(graph, batch=batch or 1), program)
        known = vendor.convert(VENDOR, [program, path, facts])
    write_beside(path, graph.manifest)
    return Facts(FastPath("XNNPACK", known["fast"], known["total"], known["pieces"], known["slow"]))


def _open(path: Path, graph: Graph) -> Engine:
    """The engine for the file: ExecuTorch in this process, or in the environment of the converter."""
    try:
        return ExecuTorchEngine(path, threads=1)
    except MissingExtraError:
        return _OtherProcess(path, tuple(graph.outputs))


class _OtherProcess(Engine):
    """Runs a `.pte` file with ExecuTorch from another environment, in a process that ends when this engine is closed."""

    def __init__(self, path: Path, outputs: Sequence[str], batch: int = 1) -> None:
        self.source = str(path)
        self.outputs = tuple(outputs)
        self.batch = batch
        self._process = vendor.start(VENDOR, _VENDORS / "executorch_run.py", [path])

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`, where N is the file's batch size.

        Raises:
            ExportError: the process ended.
        """
        question = io.BytesIO()
        np.savez(question, batch=batch)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(len(question.getvalue()).to_bytes(8, "little") + question.getvalue())
            self._process.stdin.flush()
            length = int.from_bytes(self._process.stdout.read(8), "little")
            with np.load(io.BytesIO(self._process.stdout.read(length)), allow_pickle=False) as answer:
                return {name: answer[str(i)] for i, name in enumerate(self.outputs)}
        except (OSError, EOFError, ValueError) as error:
            raise ExportError(f"ExecuTorch cannot run '{self.source}'") from error

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


EXECUTORCH = Format(
    "ExecuTorch",
    write_executorch,
    _open,
    lambda: VENDOR.version,
    batch=1,
    any_batch=False,
    refused={"nms": "ExecuTorch has no operator for non-maximum suppression"},
    raw_too=False,
)
"""`.pte` files for XNNPACK: the input is one image, 1 C H W, and the outputs are the model's, in the same order."""

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
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.exporters.program import exported, saved
from mobilenets.exporters.vendor import Vendor
from mobilenets.model import Model
from mobilenets.runtime.engines.base import Engine, FastPath, Outputs
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
from mobilenets.runtime.manifest import read_beside, write_beside
from mobilenets.specs.model import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VENDORS = Path(__file__).with_name("vendors")
EXECUTORCH = Vendor("ExecuTorch", "executorch.exir", ("executorch==1.5.1", "torchao==0.18.0"), 334, _VENDORS / "executorch.py")


def export_executorch(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """Write `path`, a `.pte` file for ExecuTorch with its manifest beside it, after comparing what it computes with the model.

    ExecuTorch's converter runs in a process of its own; where it is missing, in an environment of its own, which is installed
    first. The file takes one image, 1 C H W, and returns the outputs of the model in their order.

    Args:
        model: the model to export; it is not modified.
        path: the file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the model cannot be lowered or converted, a file cannot be written, or the outputs differ by more than
            `tolerance`.
        ImageError: an image cannot be decoded.
    """
    return export_checked(
        model,
        Path(path),
        write=write_executorch,
        open_engine=_open,
        runtime=f"ExecuTorch {EXECUTORCH.version}",
        images=images,
        tolerance=tolerance,
    )


def write_executorch(graph: Graph, path: Path) -> FastPath:
    """Write a graph as a `.pte` file with its manifest beside it; returns how much is delegated to XNNPACK.

    Raises:
        ExportError: ExecuTorch cannot convert it.
    """
    with tempfile.TemporaryDirectory() as folder:
        program, facts = Path(folder, "program.pt2"), Path(folder, "facts.json")
        saved(exported(graph), program)
        known = vendor.convert(EXECUTORCH, [program, path, facts])
    write_beside(path, graph.manifest)
    return FastPath("XNNPACK", known["fast"], known["total"], known["pieces"], known["slow"])


def _open(path: Path) -> Engine:
    """The engine for the file: ExecuTorch in this process, or that of the environment that converted it."""
    try:
        return ExecuTorchEngine(path, threads=1)
    except MissingExtraError:
        return _OtherProcess(path)


class _OtherProcess(Engine):
    """Runs a `.pte` file with the ExecuTorch of another environment, in a process that ends when this engine is closed."""

    batch = 1

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self.outputs = tuple(_NAMES[read_beside(path).task])
        self._process = vendor.start(EXECUTORCH, _VENDORS / "executorch_run.py", [path])

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for one preprocessed image `1 C H W`.

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


_NAMES: dict[Task, tuple[str, ...]] = {"classify": ("logits",), "detect": ("logits", "offsets"), "segment": ("logits",)}

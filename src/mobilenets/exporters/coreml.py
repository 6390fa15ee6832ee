"""Core ML: an `.mlpackage` folder, with the manifest in its metadata. It is written on any system and runs on macOS and iOS."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.errors import ExportError
from mobilenets.exporters import vendor
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.exporters.program import Program, exported, saved
from mobilenets.exporters.vendor import Vendor
from mobilenets.model import Model
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.coreml import CoreMlEngine
from mobilenets.runtime.manifest import METADATA_KEY, Manifest, Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

COREML = Vendor("Core ML Tools", "coremltools", ("coremltools==9.0",), 53, Path(__file__).with_name("vendors") / "coreml.py")
HALF_TOLERANCE = 0.05
"""Largest difference of an output, relative to its largest value, when the network computes in 16 bits."""

NOT_RUN = (
    "the package itself was not run, because Core ML runs on macOS only; the program that it was made from was compared, and "
    "the names, shapes and manifest that the package states"
)


def export_coreml(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """Write `path`, a Core ML package in 32-bit floats, after comparing it with the model as far as this system can.

    On macOS the package is run. Elsewhere the program that it is made from is compared, and the names, shapes and manifest
    that the package states; `Parity.note` says so. The converter runs in a process of its own; where it is missing, in an
    environment of its own, which is installed first.

    Args:
        model: the model to export; it is not modified.
        path: the `.mlpackage` folder to write.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the model cannot be lowered or converted, a file cannot be written, or what is compared differs.
        ImageError: an image cannot be decoded.
    """
    return _export(model, path, "float32", images=images, tolerance=tolerance)


def export_coreml_half(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """As `export_coreml`, in 16-bit floats, as Apple's Neural Engine computes. The tolerance is at least `HALF_TOLERANCE`."""
    return _export(model, path, "float16", images=images, tolerance=max(tolerance, HALF_TOLERANCE))


def _export(
    model: Model, path: str | Path, precision: Precision, *, images: Sequence[bytes | Path], tolerance: float
) -> Parity:
    made_from: list[Graph] = []

    def write(graph: Graph, draft: Path) -> None:
        write_coreml(replace(graph, manifest=replace(graph.manifest, precision=precision)), draft)
        made_from.append(graph)

    runs = sys.platform == "darwin"
    open_engine: Callable[[Path], Engine] = CoreMlEngine if runs else lambda _: _ProgramEngine(made_from[0])
    parity = export_checked(
        model,
        Path(path),
        write=write,
        open_engine=open_engine,
        runtime=f"Core ML Tools {COREML.version}",
        images=images,
        tolerance=tolerance,
    )
    return parity if runs else replace(parity, note=NOT_RUN)


def write_coreml(graph: Graph, path: Path) -> None:
    """Write a graph as a Core ML package, and check the inputs, outputs and manifest that the package states.

    Args:
        graph: a network; its manifest says in which precision the package computes.
        path: the `.mlpackage` folder.

    Raises:
        ExportError: Core ML Tools cannot convert it, or the package states something else.
    """
    shapes = graph.shapes()
    manifest = graph.manifest.to_json()
    description = {
        "outputs": list(graph.outputs),
        "precision": graph.manifest.precision,
        "metadata": {METADATA_KEY: manifest},
        "author": "mobilenets",
        "about": f"{graph.manifest.model}: {graph.manifest.task}, {len(graph.manifest.labels)} labels",
    }
    with tempfile.TemporaryDirectory() as folder:
        program, facts, told = (Path(folder, name) for name in ("program.pt2", "facts.json", "description.json"))
        saved(exported(graph), program)
        told.write_text(json.dumps(description), "utf-8")
        known = vendor.convert(COREML, [program, path, facts, told])
    expected: dict[str, Any] = {
        "inputs": {INPUT: [1, *shapes[INPUT]]},
        "outputs": {name: [1, *shapes[value]] for name, value in graph.outputs.items()},
    }
    for part, wanted in expected.items():
        if known[part] != wanted and not _unstated(known[part], wanted):
            raise ExportError(f"the Core ML package has the {part} {known[part]}, but the network has {wanted}")
    if known["metadata"].get(METADATA_KEY) != manifest:
        raise ExportError("the Core ML package does not hold the manifest that was written into it")


def _unstated(found: dict[str, list[int]], wanted: dict[str, list[int]]) -> bool:
    """Whether the names are right and shapes, where the package states any, too: Core ML may leave those of outputs open."""
    return found.keys() == wanted.keys() and all(shape in ([], wanted[name]) for name, shape in found.items())


class _ProgramEngine(Engine):
    """The torch program that a package is made from."""

    def __init__(self, graph: Graph) -> None:
        self._program = Program(graph).eval()
        self._manifest = graph.manifest
        self.outputs = tuple(graph.outputs)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images N C H W."""
        with torch.inference_mode():
            outputs = self._program(torch.from_numpy(batch))
        return {name: output.numpy() for name, output in zip(self.outputs, outputs, strict=True)}

    def manifest(self) -> Manifest:
        """The graph's manifest."""
        return self._manifest

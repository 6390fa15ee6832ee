"""Core ML: an `.mlpackage` folder with the manifest in its metadata, written on any system, for macOS and iOS."""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.errors import ExportError
from mobilenets.exporters import vendor
from mobilenets.exporters.format import HALF_TOLERANCE, Format
from mobilenets.exporters.program import Program, exported, saved
from mobilenets.exporters.vendor import Vendor
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.coreml import CoreMlEngine
from mobilenets.runtime.manifest import METADATA_KEY, Manifest, write_beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VENDOR = Vendor("Core ML Tools", "coremltools", ("coremltools==9.0",), 53, Path(__file__).with_name("vendors") / "coreml.py")
NOT_RUN = (
    "the package itself was not run, because Core ML runs on macOS only; the program that it was made from was compared, and "
    "the names, shapes and manifest that the package states"
)


def write_coreml(graph: Graph, path: Path, batch: int | None = 1) -> None:
    """Write a graph as a Core ML package, and check the inputs, outputs and manifest that the package declares.

    The converter runs in a separate process; if it is missing, it is first installed into an environment of its own.

    Args:
        graph: a network; its manifest determines the precision of the package.
        path: the `.mlpackage` folder.
        batch: batch size.

    Raises:
        ExportError: Core ML Tools cannot convert it, or the package declares something else.
    """
    shapes, batch = graph.shapes(), batch or 1
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
        saved(exported(graph, batch=batch), program)
        told.write_text(json.dumps(description), "utf-8")
        known = vendor.convert(VENDOR, [program, path, facts, told])
    expected: dict[str, Any] = {
        "inputs": {INPUT: [batch, *shapes[INPUT]]},
        "outputs": {name: [batch, *shapes[value]] for name, value in graph.outputs.items()},
    }
    for part, wanted in expected.items():
        if known[part] != wanted and not _unstated(known[part], wanted):
            raise ExportError(f"the Core ML package has the {part} {known[part]}, but the network has {wanted}")
    if known["metadata"].get(METADATA_KEY) != manifest:
        raise ExportError("the Core ML package does not hold the manifest that was written into it")
    write_beside(path, graph.manifest)  # for `info` on systems that cannot open packages


def _unstated(described: dict[str, list[int]], wanted: dict[str, list[int]]) -> bool:
    """Whether names or shapes differ from the expected ones; a package may leave the shapes of outputs open."""
    return described.keys() == wanted.keys() and all(shape in ([], wanted[name]) for name, shape in described.items())


class _ProgramEngine(Engine):
    """The torch program that a package is converted from, as an engine."""

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


def _open(path: Path, graph: Graph) -> Engine:
    """The package on macOS; elsewhere the program that it was converted from."""
    return CoreMlEngine(path) if _RUNS else _ProgramEngine(graph)


_RUNS = platform.system() == "Darwin"

COREML = Format(
    "Core ML Tools",
    write_coreml,
    _open,
    lambda: VENDOR.version,
    batch=1,
    any_batch=False,
    refused={"nms": "boxes of Core ML packages need a pipeline of two models, which is not written"},
    raw_too=False,
    note="" if _RUNS else NOT_RUN,
)
"""`.mlpackage` folders that compute in 32-bit floats: the input is "image", 1 C H W, and the outputs are the model's.

Quantized networks have 8-bit weights and round activations to 8 bits; they need iOS 17 or macOS 14.
"""

COREML_HALF = replace(COREML, precision="float16", tolerance=HALF_TOLERANCE)
"""The same in 16-bit floats, as Apple's Neural Engine computes."""

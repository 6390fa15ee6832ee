"""The files of a network for the page in the browser: ONNX; beside it operators for our own engine, and TFLite for LiteRT."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from mobilenets.deploy.file import save_without
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.read_onnx import read_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.errors import CheckpointError, GraphError, MissingExtraError
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.onnx import OnnxEngine

TOLERANCE = 1e-3
"""Largest difference of an output of the two files, relative to its largest value; what the page itself asks for."""


def networks(onnx: Path, folder: Path, graph: Graph | None = None) -> dict[str, Path]:
    """The exported file for each runtime in the browser.

    Files that do not come from this package have ONNX alone. Our own engine reads the weights in the ONNX file, and beside it
    a file with the operators. The TFLite file is left out where the extra that writes and runs it is not installed, for
    networks in integers, and where it does not compute the same.

    Args:
        onnx: the exported ONNX file.
        folder: to write the other files to.
        graph: that the ONNX file was written from; it is read back by default.

    Raises:
        OSError: a file cannot be written.
    """
    found = {"onnx": onnx}
    operators, tflite = folder / "model.operators", folder / "model.tflite"
    try:
        graph = graph or read_onnx(onnx)
        save_without(graph, operators, onnx.read_bytes())
        found = {"native": operators, **found}
        if graph.quantization:
            return found
        tflite.write_bytes(to_tflite(graph))
        with closing(OnnxEngine(onnx, 1)) as first, closing(LiteRtEngine(tflite, 1)) as second:
            if _agree(first, second, graph):
                found["tflite"] = tflite
    except (CheckpointError, GraphError, MissingExtraError):
        return found
    return found


def _agree(first: Engine, second: Engine, graph: Graph) -> bool:
    height, width = graph.manifest.input.shape
    image = np.random.default_rng(0).normal(0, 0.5, (1, graph.manifest.input.channels, height, width)).astype(np.float32)
    return _close(first.run(image), second.run(image))


def _close(first: Outputs, second: Outputs) -> bool:
    return all(
        name in second and np.abs(second[name] - values).max(initial=0) <= TOLERANCE * np.abs(values).max(initial=0)
        for name, values in first.items()
    )

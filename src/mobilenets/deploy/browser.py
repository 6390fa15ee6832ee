"""The files of a network for the page in the browser: ONNX, and beside it TFLite, which LiteRT runs faster there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

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

    The TFLite file is left out where the extra that writes and runs it is not installed, for networks in integers, for
    files that do not come from this package, and where it does not compute the same.

    Args:
        onnx: the exported ONNX file.
        folder: to write the TFLite file to.
        graph: that the ONNX file was written from; it is read back by default.

    Raises:
        OSError: the TFLite file cannot be written.
    """
    found = {"onnx": onnx}
    tflite = folder / "model.tflite"
    try:
        graph = graph or read_onnx(onnx)
        if graph.quantization:
            return found
        tflite.write_bytes(to_tflite(graph))
        with closing(OnnxEngine(onnx, 1)) as first, closing(LiteRtEngine(tflite, 1)) as second:
            if _agree(first, second, graph):
                found["tflite"] = tflite
    except (CheckpointError, GraphError, MissingExtraError):
        return {"onnx": onnx}
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

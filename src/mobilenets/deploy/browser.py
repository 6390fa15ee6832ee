"""The files of a network for the browser page: ONNX, operators for our own engine, and TFLite for LiteRT."""

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
"""Largest difference between an output of the two files, relative to its largest value; the same as the page's own limit."""


def networks(onnx: Path, folder: Path, graph: Graph | None = None) -> dict[str, Path]:
    """The exported file for each runtime in the browser.

    An ONNX file from elsewhere is returned alone. Our own engine reads the weights from the ONNX file and the operators from a
    second file. There is no TFLite file for a quantized network, if the extra that writes and runs it is not installed, or if
    it does not compute the same.

    Args:
        onnx: the exported ONNX file.
        folder: where the other files are written.
        graph: the graph that the ONNX file was written from; by default it is read back from the file.

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

"""TFLite: one file with the weights, the labels and the input contract inside, checked against torch before it appears."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.format import Format
from mobilenets.runtime.engines.litert import LiteRtEngine, litert

HALF_TOLERANCE = 0.05
"""Largest difference of an output, relative to its largest value, when the weights are rounded to 16 bits."""


def _write(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(graph, batch=batch or 1))


def _write_half(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(graph, half=True, batch=batch or 1))


def _version() -> str:
    litert()  # raises where it is not installed, before anything is computed
    return version("ai-edge-litert")


TFLITE = Format("LiteRT", _write, lambda path, graph: LiteRtEngine(path), _version, batch=1, any_batch=False)
"""`.tflite` files in 32-bit floats: the input is "image", 1 H W C; maps among the outputs are 1 H W C too."""

TFLITE_HALF = Format(
    "LiteRT",
    _write_half,
    lambda path, graph: LiteRtEngine(path),
    _version,
    batch=1,
    any_batch=False,
    precision="float16",
    tolerance=HALF_TOLERANCE,
)
"""The same with the weights in 16-bit floats: half the size."""

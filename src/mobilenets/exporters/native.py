"""Graph files for the native engine: operators, weights and manifest in one safetensors file."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.format import HALF_TOLERANCE, Format
from mobilenets.runtime.engines.native import NativeEngine, native


def _write(graph: Graph, path: Path, batch: int | None) -> None:
    file.save(graph, path)


def _version() -> str:
    native()  # raises if it is not installed, before anything is computed
    return version("mobilenets-native")


NATIVE = Format("the native engine", _write, lambda path, graph: NativeEngine(path), _version)
"""`.graph` files, for any batch size."""

NATIVE_HALF = replace(NATIVE, precision="bfloat16", tolerance=HALF_TOLERANCE)
"""The same file, but its manifest requests bfloat16 products. A processor without bfloat16 computes in 32 bits."""

"""TFLite: one file with the weights, the labels and the input contract inside, checked against torch before it appears."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from mobilenets.deploy.ends import with_integer_ends
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.format import HALF_TOLERANCE, Format
from mobilenets.runtime.engines.litert import LiteRtEngine, litert

Ends = Literal["float", "int8", "uint8"]
"""The type of a quantized file's input and outputs: reals, or the integers that represent them."""


def _write(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(graph, batch=batch or 1))


def _write_half(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(graph, half=True, batch=batch or 1))


def _write_signed(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(with_integer_ends(graph), batch=batch or 1))


def _write_unsigned(graph: Graph, path: Path, batch: int | None) -> None:
    path.write_bytes(to_tflite(with_integer_ends(graph), batch=batch or 1, unsigned=True))


def _version() -> str:
    litert()  # raises if it is not installed, before anything is computed
    return version("ai-edge-litert")


TFLITE = Format("LiteRT", _write, lambda path, graph: LiteRtEngine(path), _version, batch=1, any_batch=False)
"""`.tflite` files in 32-bit floats: the input is "image", 1 H W C; outputs that are feature maps are 1 H W C too."""

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

WITH_ENDS: dict[Ends, Format] = {
    "float": TFLITE,
    "int8": replace(TFLITE, write=_write_signed),
    "uint8": replace(TFLITE, write=_write_unsigned),
}
"""The formats of quantized networks, by type of input and outputs."""

"""TFLite: one file with the weights, the labels and the input contract inside, checked against torch before it appears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.model import Model
from mobilenets.runtime.engines.litert import LiteRtEngine, litert

HALF_TOLERANCE = 0.05
"""Largest difference of an output, relative to its largest value, when the weights are rounded to 16 bits."""


def export_tflite(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """Write `path`, one TFLite file in 32-bit floats that `Predictor.open` opens, after comparing it with the model.

    The input is "image", 1 H W C, preprocessed as the input contract inside the file says; the outputs have the model's names,
    maps as 1 H W C.

    Args:
        model: is left as it is.
        path: the file to write; its folder is made.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the model cannot be lowered, the file cannot be written, or the outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: ai-edge-litert is not installed.
    """
    return _export(model, path, _write, images=images, tolerance=tolerance)


def export_tflite_half(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """As `export_tflite`, with the weights in 16-bit floats: half the size. The tolerance is at least `HALF_TOLERANCE`."""
    return _export(model, path, _write_half, images=images, tolerance=max(tolerance, HALF_TOLERANCE))


def _export(
    model: Model,
    path: str | Path,
    write: Callable[[Graph, Path], None],
    *,
    images: Sequence[bytes | Path],
    tolerance: float,
) -> Parity:
    litert()  # raises where it is not installed, before anything is computed
    return export_checked(
        model,
        Path(path),
        write=write,
        open_engine=LiteRtEngine,
        runtime=f"LiteRT {version('ai-edge-litert')}",
        images=images,
        tolerance=tolerance,
    )


def _write(graph: Graph, path: Path) -> None:
    path.write_bytes(to_tflite(graph))


def _write_half(graph: Graph, path: Path) -> None:
    manifest = replace(graph.manifest, precision="float16")
    path.write_bytes(to_tflite(replace(graph, manifest=manifest), half=True))

"""Prepares a checkpoint for prediction: it is exported silently when it is first opened, and the export is kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mobilenets import checkpoint as checkpoints
from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.native import NATIVE
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.quantized import export_quantized
from mobilenets.exporters.table import export
from mobilenets.int8.folder import graph_of, is_quantized
from mobilenets.model import TorchEngine
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.onnx import OnnxEngine

FILE = "model.onnx"
"""Stored inside the checkpoint's folder, so it disappears when a newer checkpoint replaces that folder."""


def engine_of(checkpoint: Path) -> Engine:
    """The engine for a checkpoint folder: its ONNX export, or torch if it cannot be exported or the folder is not writable.

    If the native engine is installed, its file is written too. From then on, the faster of the two opens the folder.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    model = checkpoints.load(checkpoint)
    try:
        export_onnx(model, checkpoint / FILE)
    except (ExportError, MissingExtraError):
        return TorchEngine(model)
    with contextlib.suppress(ExportError, MissingExtraError):
        export_checked(model, (checkpoint / FILE).with_suffix(".graph"), NATIVE)
    return OnnxEngine(checkpoint / FILE, threads=1)


def export_for(source: Path, runtime: str) -> None:
    """Export a checkpoint or a quantized network for a runtime, into the folder where it is looked for when opened.

    Args:
        source: a checkpoint folder or the folder of a quantized network.
        runtime: "native", "tflite", ...

    Raises:
        CheckpointError: the checkpoint is damaged.
        ExportError: it cannot be exported for this runtime.
        MissingExtraError: a library that the export needs is not installed.
    """
    if is_quantized(source):
        export_quantized(graph_of(source), source / "export", to=runtime)
    else:
        export(checkpoints.load(source), source, to=runtime)

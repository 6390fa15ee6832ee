"""A checkpoint that predicts at once: exported when it is first opened, without a word, and kept."""

from __future__ import annotations

from pathlib import Path

from mobilenets import checkpoint as checkpoints
from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.exporters.onnx import export_onnx
from mobilenets.model import TorchEngine
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.onnx import OnnxEngine

FILE = "model.onnx"
"""Inside the checkpoint's folder: it goes when a newer checkpoint takes the folder's place."""


def engine_of(checkpoint: Path) -> Engine:
    """The engine for a checkpoint folder: of its export, or of torch if it cannot be exported or nothing can be written there.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    model = checkpoints.load(checkpoint)
    try:
        export_onnx(model, checkpoint / FILE)
    except (ExportError, MissingExtraError):
        return TorchEngine(model)
    return OnnxEngine(checkpoint / FILE, threads=1)

"""ONNX export: one file with the weights, labels and input contract inside, checked against torch before it appears."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.model import Model
from mobilenets.runtime.engines.onnx import OnnxEngine


def export_onnx(model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE) -> Parity:
    """Export a model to `path`, one ONNX file that `runtime.Predictor.open` opens, after comparing it with the model.

    The input is "image", N C H W for any N, preprocessed as the file's input contract says. The outputs are those of the
    model; for a classifier "logits", N classes. The file is written to a separate folder, compared with the model in ONNX
    Runtime on random input of several batch sizes and on `images`, and only then moved to `path`. A failed export does not
    change an existing file.

    Args:
        model: the model to export; it is not modified.
        path: the file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference, relative to the largest logit of a batch.

    Raises:
        ExportError: the model cannot be lowered, the file cannot be written, or the outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    return export_checked(
        model,
        Path(path),
        write=_write,
        open_engine=OnnxEngine,
        runtime=f"onnxruntime {version('onnxruntime')}",
        images=images,
        tolerance=tolerance,
    )


def _write(graph: Graph, path: Path) -> None:
    import onnx

    onnx.save(to_onnx(graph), path)

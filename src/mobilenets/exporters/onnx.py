"""ONNX: one file with the weights, the labels and the input contract inside, checked against torch before it appears."""

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
    """Write `path`, one ONNX file that `runtime.Predictor.open` takes, after comparing it with the model.

    The input is "image", N C H W of any N, preprocessed as the input contract inside the file says; the outputs are those of
    the model, for a classifier "logits", N classes. The file is written elsewhere, compared with the model in ONNX Runtime on
    random input of several batch sizes and on `images`, and only then moved to `path`: a failed export leaves it as it was.

    Args:
        model: is left as it is.
        path: the file to write; its folder is made.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest logit of a batch.

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

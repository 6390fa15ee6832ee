"""ONNX export: one file with the weights, labels and input contract inside, checked against torch before it appears."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.errors import MissingExtraError
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.format import Format
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.model import Model
from mobilenets.runtime.engines.onnx import OnnxEngine


def export_onnx(model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE) -> Parity:
    """Export a model to `path`, one ONNX file that `runtime.Predictor.open` opens, after comparing it with the model.

    The input is "image", N C H W for any N, preprocessed as the file's input contract says. The outputs are those of the
    model; for a classifier "logits", N classes. The file is written to a separate folder, compared with the model in ONNX
    Runtime on made-up images in several batch sizes and on `images`, and only then moved to `path`. A failed export does not
    change an existing file.

    Args:
        model: the model to export; it is not modified.
        path: the file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to made-up images.
        tolerance: the largest allowed difference, relative to the largest logit of a batch.

    Raises:
        ExportError: the model cannot be lowered, the file cannot be written, or the outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    return export_checked(model, Path(path), ONNX, images=images, tolerance=tolerance)


def _write(graph: Graph, path: Path, batch: int | None) -> None:
    import onnx

    onnx.save(to_onnx(graph, batch=batch), path)


def _version() -> str:
    try:
        import onnx  # noqa: F401  # writes the file
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    return version("onnxruntime")


ONNX = Format("ONNX Runtime", _write, lambda path, graph: OnnxEngine(path), _version)
"""`.onnx` files. A detector with a tail returns "boxes", N K 4, x0 y0 x1 y1 in px of the input, "scores", N K, and "classes",
N K: indices into the labels, and -1 with a score of 0 where there are fewer boxes than K. A segmenter with a tail returns
"classes", N H W in 8 bits."""

"""OpenVINO: an `.xml` file and its weights in a `.bin` file beside it, made from the same ONNX model that `onnx` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.model import Model
from mobilenets.runtime.engines.openvino import OpenVinoEngine, openvino
from mobilenets.runtime.manifest import METADATA_KEY


def export_openvino(
    model: Model, path: str | Path, *, images: Sequence[bytes | Path] = (), tolerance: float = TOLERANCE
) -> Parity:
    """Write `path`, an `.xml` file with its `.bin` file beside it, after comparing what OpenVINO computes with the model.

    The input is "image", N C H W for any N, preprocessed as the file's input contract says; the outputs are those of the model.

    Args:
        model: the model to export; it is not modified.
        path: the `.xml` file to write; its folder is created.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the model cannot be lowered, a file cannot be written, or the outputs differ by more than `tolerance`.
        ImageError: an image cannot be decoded.
        MissingExtraError: openvino or onnx is not installed.
    """
    runtime = openvino()  # raises where it is not installed, before anything is computed
    return export_checked(
        model,
        Path(path),
        write=write_openvino,
        open_engine=OpenVinoEngine,
        runtime=f"OpenVINO {runtime.__version__.partition('-')[0]}",
        images=images,
        tolerance=tolerance,
    )


def write_openvino(graph: Graph, path: Path) -> None:
    """Write a graph as an `.xml` and a `.bin` file, with the manifest in the metadata."""
    runtime = openvino()
    model = runtime.Core().read_model(model=to_onnx(graph).SerializeToString(), weights=b"")
    model.set_rt_info(graph.manifest.to_json(), [METADATA_KEY])
    runtime.save_model(model, path, compress_to_fp16=False)

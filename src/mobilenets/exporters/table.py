"""`export`, and `EXPORTERS`: the supported export formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilenets.errors import ExportError
from mobilenets.exporters.coreml import export_coreml, export_coreml_half
from mobilenets.exporters.executorch import export_executorch
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.onnx_argmax import export_onnx_argmax
from mobilenets.exporters.onnx_nms import export_onnx_nms
from mobilenets.exporters.openvino import export_openvino
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.exporters.tflite import export_tflite, export_tflite_half
from mobilenets.files import write_text
from mobilenets.model import Model
from mobilenets.table import Table


class Export(Protocol):
    """Writes one file and compares it with the model. If they differ, nothing is left at `path`."""

    def __call__(self, model: Model, path: Path, *, images: Sequence[bytes | Path], tolerance: float) -> Parity:
        """The comparison; raises ExportError if it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Exporter:
    """One supported export format.

    Args:
        file: the file's name in an export folder.
        export: writes the file.
        parity: name of the file that holds its comparison with the model.
        tail: whether the file also decodes what the network computes, into boxes or classes of pixels.
    """

    file: str
    export: Export
    parity: str = "parity.json"
    tail: bool = False


# fmt: off
EXPORTERS: Table[Exporter] = Table("export runtime", {
    "onnx":        Exporter("model.onnx", export_onnx),
    "onnx-nms":    Exporter("detector.onnx", export_onnx_nms, "detector.parity.json", tail=True),
    "onnx-argmax": Exporter("segmenter.onnx", export_onnx_argmax, "segmenter.parity.json", tail=True),
    "openvino":    Exporter("model.xml", export_openvino, "openvino.parity.json"),
    "tflite":      Exporter("model.tflite", export_tflite, "tflite.parity.json"),
    "tflite-half": Exporter("half.tflite", export_tflite_half, "half.tflite.parity.json"),
    "executorch":  Exporter("model.pte", export_executorch, "executorch.parity.json"),
    "coreml":      Exporter("model.mlpackage", export_coreml, "coreml.parity.json"),
    "coreml-half": Exporter("half.mlpackage", export_coreml_half, "half.coreml.parity.json"),
})
# fmt: on
"""The export formats: the plain network, a detector that outputs boxes, and a segmenter that outputs pixel classes."""


def export(
    model: Model,
    folder: str | Path = "export",
    *,
    to: str = "onnx",
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Export a model and compare the file with it: `export(model, "export", to="onnx")`.

    The folder then contains the network's file, which `Predictor.open` opens, and a `parity.json` with the comparison.

    Args:
        model: the model to export; it is not modified.
        folder: the output folder; it is created if missing.
        to: "onnx", "openvino", "tflite", "executorch" or "coreml"; "tflite-half" for 16-bit weights; "coreml-half" to compute
            in 16 bits; "onnx-nms" for a detector that outputs boxes; or "onnx-argmax" for a segmenter that outputs the class of
            each pixel.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the export failed or does not match the model. The folder's files are unchanged.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format needs is not installed.
        UnknownNameError: there is no such format.
    """
    folder, exporter = Path(folder), EXPORTERS[to]
    parity = exporter.export(model, folder / exporter.file, images=images, tolerance=tolerance)
    try:
        write_text(folder / exporter.parity, json.dumps(parity.to_data(), indent=1) + "\n")
    except OSError as error:
        raise ExportError(f"cannot write '{folder / exporter.parity}': {error.strerror or error}") from error
    return parity

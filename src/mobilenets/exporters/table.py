"""`export`, and `EXPORTERS`: what a model can be exported to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilenets.errors import ExportError
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.onnx_argmax import export_onnx_argmax
from mobilenets.exporters.onnx_nms import export_onnx_nms
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.exporters.tflite import export_tflite, export_tflite_half
from mobilenets.files import write_text
from mobilenets.model import Model
from mobilenets.table import Table


class Export(Protocol):
    """Writes one file and compares it with the model; leaves nothing at `path` when they differ."""

    def __call__(self, model: Model, path: Path, *, images: Sequence[bytes | Path], tolerance: float) -> Parity:
        """The comparison; raises ExportError when it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Exporter:
    """One kind of file that a model can be exported to.

    Args:
        file: its name in an export folder.
        export: writes it.
        parity: name of the file that holds its comparison with the model.
    """

    file: str
    export: Export
    parity: str = "parity.json"


# fmt: off
EXPORTERS: Table[Exporter] = Table("export runtime", {
    "onnx":        Exporter("model.onnx", export_onnx),
    "onnx-nms":    Exporter("detector.onnx", export_onnx_nms, "detector.parity.json"),
    "onnx-argmax": Exporter("segmenter.onnx", export_onnx_argmax, "segmenter.parity.json"),
    "tflite":      Exporter("model.tflite", export_tflite, "tflite.parity.json"),
    "tflite-half": Exporter("half.tflite", export_tflite_half, "half.tflite.parity.json"),
})
# fmt: on
"""What can be exported to: the network as it is, a detector that returns boxes, a segmenter that returns classes of pixels."""


def export(
    model: Model,
    folder: str | Path = "export",
    *,
    to: str = "onnx",
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
) -> Parity:
    """Export a model and compare the file with it: `export(model, "export", to="onnx")`.

    The folder then holds the network's file, which `Predictor.open` opens, and a `parity.json` with the comparison.

    Args:
        model: what to export; is left as it is.
        folder: where to; made if it is missing.
        to: "onnx" or "tflite"; "tflite-half" with weights in 16 bits; "onnx-nms" for a detector that returns boxes, and
            "onnx-argmax" for a segmenter that returns the class of each pixel.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest value of an output in a batch.

    Raises:
        ExportError: the export failed or does not agree with the model; the folder's files are as they were.
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

"""`EXPORTERS`: the runtimes a model can be exported to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilenets.errors import ExportError
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.onnx_argmax import export_onnx_argmax
from mobilenets.exporters.onnx_nms import export_onnx_nms
from mobilenets.exporters.parity import TOLERANCE, Parity
from mobilenets.model import Model
from mobilenets.table import Table


class Export(Protocol):
    """Writes one file and compares it with the model; leaves nothing at `path` when they differ."""

    def __call__(self, model: Model, path: Path, *, images: Sequence[bytes | Path], tolerance: float) -> Parity:
        """The comparison; raises ExportError when it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Exporter:
    """A runtime a model can be exported to.

    Args:
        file: name of the file in an export folder.
        export: writes it.
        parity: name of the file that holds its comparison.
    """

    file: str
    export: Export
    parity: str = "parity.json"


# fmt: off
EXPORTERS = Table("export runtime", {
    "onnx": Exporter("model.onnx", export_onnx),
})
WITH_NMS = Table("export runtime with boxes as outputs", {
    "onnx": Exporter("detector.onnx", export_onnx_nms, "detector.parity.json"),
})
WITH_ARGMAX = Table("export runtime with classes of pixels as output", {
    "onnx": Exporter("segmenter.onnx", export_onnx_argmax, "segmenter.parity.json"),
})
# fmt: on


def export(
    model: Model,
    folder: Path,
    *,
    to: str = "onnx",
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
    exporters: Mapping[str, Exporter] = EXPORTERS,
) -> Parity:
    """Write an export folder: the network's file, and `parity.json` with the comparison.

    Args:
        model: what to export.
        folder: where to; made when missing.
        to: a name in `exporters`.
        images: files or encoded bytes to compare on, besides random input.
        tolerance: largest difference, relative to the largest value of an output in a batch.
        exporters: `EXPORTERS`, or those that decode inside: `WITH_NMS` for detectors, `WITH_ARGMAX` for segmenters.

    Raises:
        ExportError: the export failed or does not agree with the model; the folder's files are as they were.
    """
    exporter = exporters[to]
    parity = exporter.export(model, folder / exporter.file, images=images, tolerance=tolerance)
    try:
        (folder / exporter.parity).write_text(json.dumps(parity.to_data(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write '{folder / exporter.parity}': {error.strerror or error}") from error
    return parity

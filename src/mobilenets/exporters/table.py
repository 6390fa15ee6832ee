"""`export`, and `EXPORTERS`: the supported export formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.deploy.tails import Tail
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.compared import Labeled, refuse_half
from mobilenets.exporters.coreml import COREML, COREML_HALF
from mobilenets.exporters.cpp import CPP
from mobilenets.exporters.executorch import EXECUTORCH
from mobilenets.exporters.format import Format
from mobilenets.exporters.native import NATIVE, NATIVE_HALF
from mobilenets.exporters.onnx import ONNX
from mobilenets.exporters.openvino import OPENVINO
from mobilenets.exporters.parity import TOLERANCE, Parity, write_parity
from mobilenets.exporters.tflite import TFLITE, TFLITE_HALF
from mobilenets.exporters.web import WEB
from mobilenets.model import Model
from mobilenets.runtime.engines.table import ENGINES
from mobilenets.table import Table


@dataclass(frozen=True, slots=True)
class Exporter:
    """One supported export.

    Args:
        file: name of the file in an export folder.
        format: writes the file and opens it.
        parity: name of the file with its comparison with the model.
        tail: decodes the outputs inside the file; None for the network alone.
        after: the command suggested next, with {} for the file.
    """

    file: str
    format: Format
    parity: str = "parity.json"
    tail: Tail | None = None
    after: str = "mobilenets predict {} IMAGE"


_BUILD = "cmake -S {} -B build && cmake --build build"
_MAC = "mobilenets predict {} IMAGE" if ENGINES[".mlpackage"].fits_system else "mobilenets info {}"

# fmt: off
EXPORTERS: Table[Exporter] = Table("export runtime", {
    "onnx":              Exporter("model.onnx", ONNX),
    "onnx-nms":          Exporter("detector.onnx", ONNX, "detector.parity.json", "nms"),
    "onnx-argmax":       Exporter("segmenter.onnx", ONNX, "segmenter.parity.json", "argmax"),
    "openvino":          Exporter("model.xml", OPENVINO, "openvino.parity.json"),
    "openvino-nms":      Exporter("detector.xml", OPENVINO, "detector.openvino.parity.json", "nms"),
    "openvino-argmax":   Exporter("segmenter.xml", OPENVINO, "segmenter.openvino.parity.json", "argmax"),
    "tflite":            Exporter("model.tflite", TFLITE, "tflite.parity.json"),
    "tflite-half":       Exporter("half.tflite", TFLITE_HALF, "half.tflite.parity.json"),
    "tflite-nms":        Exporter("detector.tflite", TFLITE, "detector.tflite.parity.json", "nms"),
    "tflite-argmax":     Exporter("segmenter.tflite", TFLITE, "segmenter.tflite.parity.json", "argmax"),
    "executorch":        Exporter("model.pte", EXECUTORCH, "executorch.parity.json"),
    "executorch-nms":    Exporter("detector.pte", EXECUTORCH, "detector.executorch.parity.json", "nms"),
    "executorch-argmax": Exporter("segmenter.pte", EXECUTORCH, "segmenter.executorch.parity.json", "argmax"),
    "coreml":            Exporter("model.mlpackage", COREML, "coreml.parity.json", after=_MAC),
    "coreml-half":       Exporter("half.mlpackage", COREML_HALF, "half.coreml.parity.json", after=_MAC),
    "coreml-nms":        Exporter("detector.mlpackage", COREML, "detector.coreml.parity.json", "nms", after=_MAC),
    "coreml-argmax":     Exporter("segmenter.mlpackage", COREML, "segmenter.coreml.parity.json", "argmax", after=_MAC),
    "native":            Exporter("model.graph", NATIVE, "native.parity.json"),
    "native-half":       Exporter("half.graph", NATIVE_HALF, "half.native.parity.json"),
    "native-nms":        Exporter("detector.graph", NATIVE, "detector.native.parity.json", "nms"),
    "native-argmax":     Exporter("segmenter.graph", NATIVE, "segmenter.native.parity.json", "argmax"),
    "web":               Exporter("web", WEB, "web.parity.json", after="mobilenets demo {}"),
    "cpp":               Exporter("cpp", CPP, "cpp.parity.json", after=_BUILD),
    "cpp-nms":           Exporter("detector-cpp", CPP, "detector.cpp.parity.json", "nms", after=_BUILD),
    "cpp-argmax":        Exporter("segmenter-cpp", CPP, "segmenter.cpp.parity.json", "argmax", after=_BUILD),
})
# fmt: on
"""The export formats: the network alone, a detector that outputs boxes (-nms), a segmenter that outputs classes (-argmax)."""


def export(
    model: Model,
    folder: str | Path = "export",
    *,
    to: str = "onnx",
    images: Sequence[bytes | Path] = (),
    tolerance: float = TOLERANCE,
    labeled: Labeled | None = None,
    batch: int | None = None,
) -> Parity:
    """Export a model and compare the file with it: `export(model, "export", to="onnx")`.

    The folder then contains the network's file, which `Predictor.open` opens, and a `parity.json` with the comparison.

    Args:
        model: the model to export; it is not modified.
        folder: the output folder; it is created if missing.
        to: "onnx", "openvino", "tflite", "executorch", "coreml", "native", "web" for a folder with a page that runs the
            model in the browser, or "cpp" for a folder of C++ that stands alone. "tflite-half" keeps weights in 16 bits, and
            "coreml-half" and "native-half" compute in 16 bits. With "-nms" a detector outputs boxes, and with "-argmax" a
            segmenter outputs the class of each pixel: "onnx-nms", "tflite-argmax".
        images: files or encoded bytes to compare on, in addition to made-up images.
        tolerance: the largest allowed difference, relative to the largest value of an output in a batch. The outputs of a
            model in 8-bit integers may differ by some of their steps instead, as for `export_quantized`.
        labeled: images to measure the accuracy of both networks on.
        batch: the only number of images that the file takes at once. By default ONNX and OpenVINO files take any number, and
            the others one.

    Raises:
        ExportError: the export failed or does not match the model. The folder's files are unchanged.
        ImageError: an image cannot be decoded.
        MissingExtraError: a library that the format needs is not installed.
        UnknownNameError: there is no such format.
    """
    folder, exporter = Path(folder), EXPORTERS[to]
    if model.precision == "int8":
        refuse_half(exporter.format, to)
    parity = export_checked(
        model,
        folder / exporter.file,
        exporter.format,
        images=images,
        tolerance=tolerance,
        labeled=labeled,
        tail=exporter.tail,
        batch=batch,
    )
    write_parity(parity, folder / exporter.parity)
    return parity

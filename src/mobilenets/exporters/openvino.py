"""OpenVINO: an `.xml` file with its weights in a `.bin` file, converted from the same ONNX model that `onnx` writes."""

from __future__ import annotations

from pathlib import Path

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.int8_rules import weight_bits
from mobilenets.deploy.swish import fused
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.exporters.format import Format
from mobilenets.runtime.engines.openvino import OpenVinoEngine, openvino
from mobilenets.runtime.manifest import METADATA_KEY, WEIGHT_BITS_KEY


def write_openvino(graph: Graph, path: Path, batch: int | None = None) -> None:
    """Write a graph as an `.xml` and a `.bin` file, with the manifest in the metadata.

    In int8 networks, hard swish is fused into the convolution before it: OpenVINO computes it in floats before rounding.
    """
    runtime = openvino()
    model = runtime.Core().read_model(model=to_onnx(fused(graph), batch=batch).SerializeToString(), weights=b"")
    model.set_rt_info(graph.manifest.to_json(), [METADATA_KEY])
    if graph.quantization:
        model.set_rt_info(str(weight_bits(graph)), [WEIGHT_BITS_KEY])
    runtime.save_model(model, path, compress_to_fp16=False)


def _version() -> str:
    version: str = openvino().__version__.partition("-")[0]
    return version


OPENVINO = Format("OpenVINO", write_openvino, lambda path, graph: OpenVinoEngine(path), _version)
"""`.xml` files; their inputs and outputs are those of `.onnx` files."""

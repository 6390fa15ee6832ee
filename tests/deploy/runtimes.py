"""Runtimes that run a graph from the file that is written for them. A new one is an entry of the table and runs every test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import openvino
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

Array = NDArray[Any]  # Any: floats, and integers where a graph begins or ends with them
Outputs = dict[str, Array]


def by_onnxruntime(graph: Graph, x: Array) -> Outputs:
    """The outputs by ONNX Runtime."""
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    assert Manifest.from_json(session.get_modelmeta().custom_metadata_map[METADATA_KEY]) == graph.manifest
    return dict(zip(graph.outputs, session.run(list(graph.outputs), {INPUT: x}), strict=True))


def by_openvino(graph: Graph, x: Array) -> Outputs:
    """The outputs by OpenVINO, which reads the ONNX file."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(to_onnx(graph).SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = model(x)
    return {name: results[name] for name in graph.outputs}


def by_litert(graph: Graph, x: Array) -> Outputs:
    """The outputs by LiteRT with XNNPACK."""
    return _interpreted(graph, x, OpResolverType.AUTO)


def by_litert_reference(graph: Graph, x: Array) -> Outputs:
    """The outputs by LiteRT's reference kernels, the measure of the int8 specification."""
    return _interpreted(graph, x, OpResolverType.BUILTIN_REF)


def _interpreted(graph: Graph, x: Array, kernels: OpResolverType) -> Outputs:
    interpreter = Interpreter(model_content=to_tflite(graph), experimental_op_resolver_type=kernels)
    run = interpreter.get_signature_runner()
    each = [run(image=image.transpose(1, 2, 0)[np.newaxis]) for image in x]
    outputs = {name: np.concatenate([one[name] for one in each]) for name in graph.outputs}
    return {name: values.transpose(0, 3, 1, 2) if values.ndim == 4 else values for name, values in outputs.items()}


RUNTIMES: dict[str, Callable[[Graph, Array], Outputs]] = {
    "onnxruntime": by_onnxruntime,
    "openvino": by_openvino,
    "litert": by_litert,
}

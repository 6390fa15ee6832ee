"""Lowered graphs for `mutants.py` to damage, and what is done with one that can be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mobilenets
from mobilenets.deploy import file
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.lower import lower
from mobilenets.runtime.engines.native import NativeEngine
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.rows import Attention, BackboneSpec, Bottleneck, Conv


def a_graph(folder: Path) -> Path:
    """A lowered segmenter, with squeeze-and-excite, attention and resizing."""
    rows = (Conv(8, 3, 2), Bottleneck(16, 8, stride=2, c_squeeze=4), Attention(8, heads=2, key_dim=4), Conv(16))
    spec = mobilenets.lraspp(BackboneSpec("plain", rows), ["road", "sky"], size=32, low="s2", output_stride=8)
    file.save(lower(mobilenets.create(spec)), folder / "graph.safetensors")
    return folder / "graph.safetensors"


def an_int8_graph(folder: Path) -> Path:
    """A small graph in 8-bit integers."""
    value, share = Quantization((0.05,), 3), Quantization((1 / 256,), -128)
    operators: tuple[op.Operator, ...] = (
        op.Quantize(name="start", inputs=(INPUT,), output="start"),
        op.Conv(name="conv", inputs=("start",), output="conv", weight="w", bias="b", stride=(2, 2), activation="relu6"),
        op.Activation(name="swish", inputs=("conv",), output="swish", kind="hard_swish"),
        op.Pool(name="pool", inputs=("swish",), output="pool", kernel=(15, 15)),
        op.Multiply(name="gated", inputs=("swish", "pool"), output="gated"),
        op.Pool(name="mean", inputs=("gated",), output="mean", kernel=(15, 15)),
        op.Flatten(name="row", inputs=("mean",), output="row"),
        op.Softmax(name="shares", inputs=("row",), output="shares"),
        op.Dequantize(name="end", inputs=("shares",), output="end"),
    )
    quantization = dict.fromkeys(("start", "conv", "swish", "pool", "gated", "mean", "row"), value)
    quantization |= {"shares": share, "w": Quantization((0.01, 0.02))}
    tensors: dict[str, NDArray[np.generic]] = {"w": np.ones((2, 3, 3, 3), np.int8), "b": np.ones(2, np.int32)}
    graph = Graph(
        Manifest("plain", ("cat", "dog"), mobilenets.InputContract(size=32), precision="int8"),
        operators,
        tensors,
        {"logits": "end"},
        quantization,
    )
    file.save(graph, folder / "graph.safetensors")
    return folder / "graph.safetensors"


def plan_and_write(path: Path) -> object:
    """Load a graph, and do with it what exporting does."""
    graph = profiled(file.load(path))
    return to_tflite(graph), to_onnx(graph)


def run_natively(path: Path) -> object:
    """Open a graph with the native engine, and run it on an image."""
    engine = NativeEngine(path, threads=2)
    contract = engine.manifest().input
    return engine.run(np.zeros((1, contract.channels, *contract.shape), np.float32))

"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published figures, weights and pictures that lies beside the checkout."""
    folder = Path(os.environ.get("MOBILENETS_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the folder of published figures, weights and pictures is not at {folder}; set MOBILENETS_SHARED")
    return folder


@pytest.fixture(scope="session")
def color_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.onnx` file that tells red, green and blue pictures apart: logits are 4 times the channels' means, -1 to 1."""
    onnx = pytest.importorskip("onnx")
    from mobilenets.runtime.manifest import METADATA_KEY, Manifest
    from mobilenets.specs.model import InputContract

    floats = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["means"]),
        onnx.helper.make_node("Mul", ["means", "four"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "color",
        [onnx.helper.make_tensor_value_info("image", floats, ["n", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("logits", floats, ["n", 3])],
        [onnx.helper.make_tensor("four", floats, [1], [4.0])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest("color", "classify", ("red", "green", "blue"), InputContract(size=16))
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    path: Path = tmp_path_factory.mktemp("color") / "model.onnx"
    onnx.save(model, path)
    return path

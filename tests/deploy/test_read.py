"""What a writer wrote, its reader reads back: the same operators and the same weights."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, MakeGraph, trained

from mobilenets.deploy import file
from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.profile import profile, profiled
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.read import read, read_floats
from mobilenets.deploy.tails import with_argmax
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.errors import MobileNetsError
from mobilenets.exporters.lower import lower
from mobilenets.model import create


def _onnx(graph: Graph, path: Path) -> Path:
    path.write_bytes(to_onnx(graph).SerializeToString())
    return path


def _tflite(graph: Graph, path: Path) -> Path:
    path.write_bytes(to_tflite(graph))
    return path


def _saved(graph: Graph, path: Path) -> Path:
    file.save(graph, path)
    return path


WRITERS = {"net.onnx": _onnx, "net.tflite": _tflite, "net.safetensors": _saved, "net.graph": _saved}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_read_back_as_the_graph_that_it_was_written_from(lowered: Graph, tmp_path: Path, name: str) -> None:
    again = read(WRITERS[name](lowered, tmp_path / name))
    factors = [getattr(operator, "factor", 1.0) for operator in lowered.operators]
    rounded = [np.float32(factor) for factor in factors]
    plain = [replace(x, factor=1.0) if isinstance(x, op.MatMul) else x for x in again.operators]
    expected = [replace(x, factor=1.0) if isinstance(x, op.MatMul) else x for x in lowered.operators]
    assert plain == expected
    assert [np.float32(getattr(operator, "factor", 1.0)) for operator in again.operators] == rounded
    assert again.outputs == dict(lowered.outputs)
    assert again.manifest == lowered.manifest
    assert again.tensors.keys() == lowered.tensors.keys()
    for key, tensor in lowered.tensors.items():
        np.testing.assert_array_equal(again.tensors[key], tensor)


def _costs(graph: Graph) -> list[object]:
    """Of each layer, and the memory of all."""
    told = profile(graph)
    return [*(replace(layer, name="") for layer in told.layers), told.arena_bytes, told.fused_bytes]


@pytest.mark.parametrize("name", SPECS)
def test_integers_are_read_back_from_onnx_to_the_bit_and_layers_in_floats_among_them(name: str, tmp_path: Path) -> None:
    graph = lower(trained(create(SPECS[name]())))
    height, width = graph.manifest.input.shape
    images = np.random.default_rng(0).normal(0, 0.5, (4, graph.manifest.input.channels, height, width)).astype(np.float32)
    convolutions = [operator.name for operator in graph.operators if isinstance(operator, op.Conv)]
    kept = frozenset((convolutions[len(convolutions) // 2], convolutions[-1]))
    written = profiled(quantize(graph, images, keep=kept).graph)
    again = read(_onnx(written, tmp_path / "net.onnx"))
    nameless = [[replace(x, name="") for x in each.operators] for each in (again, written)]  # type: ignore[type-var]
    assert nameless[0] == nameless[1]
    assert again.outputs == dict(written.outputs)
    assert again.quantization == dict(written.quantization)
    assert again.manifest == written.manifest
    assert again.tensors.keys() == written.tensors.keys()
    for key, tensor in written.tensors.items():
        assert again.tensors[key].dtype == tensor.dtype
        np.testing.assert_array_equal(again.tensors[key], tensor)
    assert _costs(again) == _costs(written)


def test_half_precision_is_read_as_the_floats_that_it_stands_for(make_graph: MakeGraph, tmp_path: Path) -> None:
    tensors = {"w": np.full((1, 1, 1, 1), 0.1, np.float32), "b": np.zeros(1, np.float32)}
    graph = make_graph((op.Conv(name="out", inputs=(INPUT,), output="out", weight="w", bias="b"),), tensors, output="y")
    path = tmp_path / "half.tflite"
    path.write_bytes(to_tflite(graph, half=True))
    assert read(path).tensors["w"].item() == float(np.float16(0.1))


@pytest.mark.parametrize("kind", ["relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "gelu"])
@pytest.mark.parametrize("name", WRITERS)
def test_an_activation_stands_alone_or_in_its_operator_as_before(
    make_graph: MakeGraph, tmp_path: Path, name: str, kind: op.NonLinear
) -> None:
    tensors = {"w": np.ones((1, 1, 1, 1), np.float32), "b": np.zeros(1, np.float32)}
    fused = op.Conv(name="fused", inputs=(INPUT,), output="fused", weight="w", bias="b", activation=kind)
    linear = op.Conv(name="linear", inputs=("fused",), output="linear", weight="w2", bias="b2")
    alone = op.Activation(name="alone", inputs=("linear",), output="alone", kind=kind)
    both = op.Add(name="both", inputs=("linear", "alone"), output="both", activation=kind)
    graph = make_graph((fused, linear, alone, both), {**tensors, "w2": tensors["w"], "b2": tensors["b"]}, output="y")
    assert read(WRITERS[name](graph, tmp_path / name)).operators == graph.operators


def _files_that_are_no_float_network(make_graph: MakeGraph, folder: Path) -> dict[str, str]:
    """Files, and what must be said of them."""
    import onnx

    graph = make_graph((op.Activation(name="out", inputs=(INPUT,), output="out", kind="relu6"),), output="y")
    data = _tflite(graph, folder / "whole.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(data[: len(data) // 2])
    (folder / "text.onnx").write_text("no protobuf")
    (folder / "text.tflite").write_text("no flatbuffer")
    (folder / "net.xml").write_text("<net/>")
    bare = to_onnx(graph)
    del bare.metadata_props[:]
    onnx.save(bare, folder / "bare.onnx")
    foreign = to_onnx(graph)
    foreign.graph.node[0].op_type = "Sin"
    onnx.save(foreign, folder / "foreign.onnx")
    quantize = op.Quantize(name="q", inputs=(INPUT,), output="q")
    back = op.Dequantize(name="out", inputs=("q",), output="out")
    int8 = replace(graph, operators=(quantize, back), quantization={"q": Quantization((0.1,))})
    _saved(int8, folder / "int8.safetensors")
    _onnx(int8, folder / "int8.onnx")
    _onnx(with_argmax(replace(graph, outputs={"logits": "out"})), folder / "segmenter.onnx")
    return {
        "cut.tflite": "cannot be read as TFLite",
        "text.onnx": "cannot be read as ONNX",
        "text.tflite": "lacks the mark",
        "net.xml": "only .onnx, .tflite, .graph, .safetensors files",
        "bare.onnx": "has no 'mobilenets' metadata",
        "foreign.onnx": "it has the operator Sin",
        "int8.onnx": "is quantized already",
        "int8.safetensors": "is quantized already",
        "segmenter.onnx": "it has the operator ArgMax",
        "missing.onnx": "there is no file",
    }


def test_what_cannot_be_read_back_is_refused_with_the_name_of_the_file(make_graph: MakeGraph, tmp_path: Path) -> None:
    for name, words in _files_that_are_no_float_network(make_graph, tmp_path).items():
        with pytest.raises(MobileNetsError, match=re.escape(str(tmp_path / name))) as caught:
            read_floats(tmp_path / name)
        assert words in str(caught.value), name

"""ONNX export: the file gives the model's answers, or is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from mobilenets.errors import ExportError, UnknownNameError
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.table import export
from mobilenets.model import Model, create
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    ResNetBottleneck,
    Separable,
    Universal,
)

EVERY_ROW = BackboneSpec(
    "every_row",
    rows=(
        Conv(8, 3, 2, activation="hard_swish"),
        Separable(8, stride=2),
        Fused(16, 8),
        Bottleneck(16, 8, kernel=5, activation="hard_swish", c_squeeze=8),
        Universal(16, 12, start_kernel=5, middle_kernel=3, stride=2, layer_scale=True),
        Attention(12, heads=2, key_dim=4, kv_stride=2),
        Attention(12, heads=2, key_dim=4, layer_scale=False),
        ResNetBottleneck(4, 12),
        Conv(16, activation="gelu"),
    ),
    tail=(Conv(24, activation="hard_swish", norm=False),),
)
PLAIN = BackboneSpec("plain", (Conv(8, 3, 2), Separable(8, stride=2), Bottleneck(16, 8)))
LABELS = ("cat", "dög", "emu")


def with_lively_norms(model: Model) -> Model:
    """Running statistics far from 0 and 1, so that a norm that is lost or folded wrongly shows."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model


def made(spec: BackboneSpec = EVERY_ROW, *, size: int = 64) -> Model:
    contract = InputContract(size=size, channels=spec.in_channels, mean=(0.4,), std=(0.2,), resize="stretch")
    return with_lively_norms(create(ModelSpec(spec, LABELS, contract, head=ClassifierHead(temperature=1.5))))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    model = made()
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(model, path)
    return model, path


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_file_gives_the_logits_of_the_model_for_any_batch_size(n: int, exported: tuple[Model, Path]) -> None:
    model, path = exported
    x = torch.randn(n, 3, 64, 64, generator=torch.Generator().manual_seed(n))
    with torch.inference_mode():
        expected = model.eval()(x).numpy()
    found = OnnxEngine(path).run(x.numpy())
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_torchs_own_exporter_writes_a_file_of_the_same_outputs(exported: tuple[Model, Path], tmp_path: Path) -> None:
    model, path = exported
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(model.eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    program.save(str(tmp_path / "oracle.onnx"))
    [expected] = onnxruntime.InferenceSession(tmp_path / "oracle.onnx").run(None, {"x": x.numpy()})
    np.testing.assert_allclose(
        OnnxEngine(path).run(x.numpy())["logits"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


def test_input_and_output_have_their_names_types_and_shapes(exported: tuple[Model, Path]) -> None:
    graph = onnx.load(exported[1]).graph
    shapes = {
        value.name: [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"image": ["batch", 3, 64, 64], "logits": ["batch", 3]}
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


def test_the_graph_computes_no_padding_from_the_image_size(exported: tuple[Model, Path]) -> None:
    graph = onnx.load(exported[1]).graph
    constants = {tensor.name for tensor in graph.initializer}
    assert all(node.input[1] in constants for node in graph.node if node.op_type == "Pad")


def test_norms_are_folded_into_the_convolutions(exported: tuple[Model, Path]) -> None:
    model = create(ModelSpec(PLAIN, LABELS, InputContract(32)))
    path = exported[1].with_name("plain.onnx")
    export_onnx(model, path)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}


def test_one_file_holds_the_weights(exported: tuple[Model, Path]) -> None:
    model, path = exported
    assert not any(tensor.HasField("data_location") and tensor.data_location for tensor in onnx.load(path).graph.initializer)
    assert path.stat().st_size > 3.9 * sum(weight.numel() for weight in model.parameters())


def test_the_metadata_hold_labels_input_contract_and_temperature(exported: tuple[Model, Path]) -> None:
    model, path = exported
    assert Predictor.open(path).manifest == manifest_of(model.spec)


def test_the_file_names_no_source_file_of_this_machine(exported: tuple[Model, Path]) -> None:
    assert b".py" not in exported[1].read_bytes()


def test_the_parity_covers_real_images_and_several_batch_sizes(tmp_path: Path) -> None:
    model = made(PLAIN, size=32)
    images: list[bytes | Path] = []
    for i in range(10):
        images.append(tmp_path / f"{i}.png")
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / f"{i}.png")
    parity = export_onnx(model, tmp_path / "model.onnx", images=images)
    assert parity.passed
    assert parity.images == 10
    assert parity.batches == (1, 2, 5, 8, 2)
    assert [output.name for output in parity.outputs] == ["logits"]
    assert 0 <= parity.outputs[0].max_rel < 1e-5


def test_the_exporter_is_quiet_and_leaves_the_model_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = made(PLAIN, size=32).train()
    export_onnx(model, tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert model.training


def test_a_difference_beyond_the_tolerance_fails_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'logits' differs from the model's by .* the tolerance is 1\.0e-12"):
        export_onnx(made(PLAIN, size=32), tmp_path / "export" / "model.onnx", tolerance=1e-12)
    assert list((tmp_path / "export").iterdir()) == []


def test_a_failed_export_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(ExportError):
        export_onnx(made(PLAIN, size=32), path, tolerance=1e-12)
    assert path.read_bytes() == b"before"


def test_a_model_that_gives_no_numbers_fails(tmp_path: Path) -> None:
    model = made(PLAIN, size=32)
    torch.nn.init.constant_(model.head.linear.bias, float("nan"))
    with pytest.raises(ExportError, match=r"the weight 'head\.linear\.bias' is not finite"):
        export_onnx(model, tmp_path / "model.onnx")


def test_an_export_folder_holds_the_network_and_its_parity(tmp_path: Path) -> None:
    parity = export(made(PLAIN, size=32), tmp_path / "export")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["model.onnx", "parity.json"]
    written = json.loads((tmp_path / "export" / "parity.json").read_text())
    assert written["passed"] is True
    assert written["outputs"][0]["max_abs"] == parity.outputs[0].max_abs


def test_an_unknown_runtime_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        export(made(PLAIN), tmp_path, to="onxn")


def test_odd_sizes_and_one_channel_export(tmp_path: Path) -> None:
    assert export_onnx(made(replace(PLAIN, in_channels=1), size=97), tmp_path / "model.onnx").passed


@pytest.mark.slow
def test_v2_exports_at_its_own_size(tmp_path: Path) -> None:
    assert export_onnx(made(backbone("mobilenet_v2"), size=224), tmp_path / "model.onnx").passed


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("to", ["onnx", "openvino", "tflite", "tflite-half"])  # the others take a minute each
def test_every_backbone_exports_to_every_runtime(name: str, to: str, tmp_path: Path) -> None:
    assert export(made(backbone(name, width=0.25), size=96), tmp_path, to=to).passed

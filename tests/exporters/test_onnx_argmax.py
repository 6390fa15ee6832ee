"""Classes from inside the ONNX file are those of the model's logits, enlarged to the input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import Operator
from mobilenets.errors import ExportError
from mobilenets.exporters.checked import export_checked
from mobilenets.exporters.onnx import ONNX
from mobilenets.exporters.table import EXPORTERS, export
from mobilenets.model import Model, TorchEngine, create
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.deeplab import DeepLabHead, deeplab
from mobilenets.specs.lraspp import LrasppHead, lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.specs.ssd import ssdlite

PLAIN = BackboneSpec(
    "plain",
    (Conv(8, 3, 2), Bottleneck(16, 8, stride=2), Bottleneck(32, 12, stride=2), Bottleneck(48, 16, stride=2)),
)
LABELS = ("sky", "road", "car", "tree")
SHAPE = (65, 97)  # one more than a multiple of the stride, as where corners are aligned; no factor to the map is whole
SPECS = {
    "deeplab": deeplab(PLAIN, LABELS, filters=8, rates=(2,), size=SHAPE),
    "lraspp": lraspp(PLAIN, LABELS, filters=8, size=SHAPE),
}


def made(name: str, *, align_corners: bool = False) -> Model:
    """A segmenter whose logits are 0 in the mean of many places: it sees several classes."""
    spec = SPECS[name]
    head = spec.head
    assert isinstance(head, DeepLabHead | LrasppHead)
    torch.manual_seed(0)
    model = create(replace(spec, head=replace(head, align_corners=align_corners))).eval()
    x = noise(8)
    with torch.no_grad():
        last = [layer for layer in model.head.modules() if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None]
        for layer in last:
            torch.nn.init.normal_(layer.weight)
        bias = last[0].bias
        assert bias is not None
        bias -= model(x).mean((0, 2, 3))
    return model


def noise(n: int) -> torch.Tensor:
    """Blobs, N 3 H W: noise alone looks the same everywhere to a network that sees far."""
    coarse = torch.randn(n, 3, 9, 13, generator=torch.Generator().manual_seed(n))
    return torch.nn.functional.interpolate(2 * coarse, SHAPE, mode="bicubic")


def classes_of(model: Model, x: torch.Tensor, *, align_corners: bool) -> NDArray[np.int64]:
    with torch.inference_mode():
        large = torch.nn.functional.interpolate(model(x), SHAPE, mode="bilinear", align_corners=align_corners)
    found: NDArray[np.int64] = large.argmax(1).numpy()
    return found


@pytest.fixture(scope="module", params=[(name, corners) for name in SPECS for corners in (False, True)], ids=str)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, bool, Path]:
    name, corners = request.param
    model = made(name, align_corners=corners)
    path = tmp_path_factory.mktemp("argmax") / "segmenter.onnx"
    export_checked(model, path, ONNX, tail="argmax")
    return model, corners, path


@pytest.mark.parametrize("n", [1, 3, 8])
def test_classes_are_those_of_torchs_interpolation_for_any_batch_size(n: int, exported: tuple[Model, bool, Path]) -> None:
    model, corners, path = exported
    x = noise(n)
    expected = classes_of(model, x, align_corners=corners)
    assert len(np.unique(expected)) > 2
    assert (expected != classes_of(model, x, align_corners=not corners)).mean() > 0.005  # else the test could not fail
    found = OnnxEngine(path).run(x.numpy())
    assert list(found) == ["classes"]
    assert found["classes"].shape == (n, *SHAPE)
    assert (found["classes"] == expected).mean() > 0.9995


def test_classes_are_bytes_of_the_inputs_size(exported: tuple[Model, bool, Path]) -> None:
    graph = onnx.load(exported[2]).graph
    (output,) = graph.output
    shape = [dimension.dim_param or dimension.dim_value for dimension in output.type.tensor_type.shape.dim]
    assert (output.name, shape, output.type.tensor_type.elem_type) == ("classes", ["batch", *SHAPE], onnx.TensorProto.UINT8)


def test_the_file_predicts_what_the_raw_one_predicts_at_the_inputs_size(
    exported: tuple[Model, bool, Path], tmp_path: Path
) -> None:
    model, _, path = exported
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    small = Image.fromarray(pixels).resize((SHAPE[1], SHAPE[0]), Image.Resampling.BICUBIC)
    small.save(tmp_path / "small.png")
    raw = Predictor(manifest_of(model.spec), TorchEngine(model)).predict(tmp_path / "small.png")
    found = Predictor.open(path).predict(tmp_path / "small.png")
    assert isinstance(raw, Segmentation)
    assert isinstance(found, Segmentation)
    assert found.classes.dtype == np.uint8
    assert (found.classes == raw.classes).mean() > 0.999
    large = small.resize((3 * SHAPE[1], 3 * SHAPE[0]), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")  # the network's input is a little smoother, its classes are repeated
    wide = Predictor.open(path).predict(tmp_path / "large.png")
    assert isinstance(wide, Segmentation)
    assert wide.classes.shape == (3 * SHAPE[0], 3 * SHAPE[1])
    blocks = wide.classes.reshape(SHAPE[0], 3, SHAPE[1], 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_an_export_folder_says_how_many_pixels_are_the_same(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)).save(image)
    parity = export(made("deeplab"), tmp_path / "out", images=[image], to="onnx-argmax")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["segmenter.onnx", "segmenter.parity.json"]
    (agreement,) = parity.agreements
    assert (parity.passed, parity.batches, agreement.total) == (True, (1, 2, 5, 1), 9 * SHAPE[0] * SHAPE[1])
    written = json.loads((tmp_path / "out" / "segmenter.parity.json").read_text())
    assert [output["name"] for output in written["outputs"]] == ["logits"]
    assert written["agreements"] == [
        {
            "name": "classes",
            "unit": "pixels",
            "differing": agreement.differing,
            "total": agreement.total,
            "tolerance": 0.001,
            "ties": 0,
        }
    ]


def with_other_corners(graph: Graph, path: Path, batch: int | None) -> None:
    def other(operator: Operator) -> Operator:
        if isinstance(operator, op.Resize) and operator.name == "tail.large":
            return replace(operator, coordinates="align_corners" if operator.coordinates == "half_pixel" else "half_pixel")
        return operator

    ONNX.write(replace(graph, operators=tuple(other(operator) for operator in graph.operators)), path, batch)


def test_another_enlargement_is_found_out_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out" / "segmenter.onnx"
    with pytest.raises(ExportError, match=r"pixels differ between the model and the exported network; at most 0\.1% may"):
        export_checked(made("deeplab"), path, replace(ONNX, write=with_other_corners), tail="argmax")
    assert list(path.parent.iterdir()) == []


def test_of_equal_logits_the_first_class_is_taken(tmp_path: Path) -> None:
    model = made("deeplab")
    torch.nn.init.zeros_(model.head.classifier.weight)
    model.head.classifier.bias.data = torch.tensor([1.0, 2.0, 2.0, 2.0])
    export_checked(model, tmp_path / "segmenter.onnx", ONNX, tail="argmax")
    assert (OnnxEngine(tmp_path / "segmenter.onnx").run(noise(2).numpy())["classes"] == 1).all()


def test_the_model_is_left_as_it_is(tmp_path: Path) -> None:
    model = made("lraspp").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_checked(model, tmp_path / "segmenter.onnx", ONNX, tail="argmax")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_models_of_other_tasks_have_no_classes_of_pixels(tmp_path: Path) -> None:
    kinds = {"classify": "classifier", "detect": "detector"}
    specs = {
        "leave --argmax out": ModelSpec(PLAIN, ("cat", "dog"), InputContract(size=32)),
        "--nms gives boxes": ssdlite(PLAIN, ("cat", "dog"), size=64, maps=("s8", "s16"), extras=(16,)),
    }
    for hint, spec in specs.items():
        with pytest.raises(
            ExportError, match=f"'plain' is a {kinds[spec.task]}: only segmenters have classes of pixels"
        ) as error:
            export_checked(create(spec), tmp_path / "segmenter.onnx", ONNX, tail="argmax")
        assert error.value.hint == hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["openvino", "tflite"])
@pytest.mark.parametrize(("name", "corners"), [("deeplab", False), ("deeplab", True), ("lraspp", False)])
def test_other_runtimes_give_the_same_classes(to: str, name: str, corners: bool, tmp_path: Path) -> None:
    model = made(name, align_corners=corners)
    parity = export(model, tmp_path, to=f"{to}-argmax")
    assert [output.name for output in parity.outputs] == ["logits"]
    predictor = Predictor.open(tmp_path / EXPORTERS[f"{to}-argmax"].file)
    x = noise(3)
    found = predictor.run(x.numpy())
    assert list(found) == ["classes"]
    assert found["classes"].dtype == np.uint8
    assert (found["classes"] == classes_of(model, x, align_corners=corners)).mean() > 0.9995

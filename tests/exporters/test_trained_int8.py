"""Models that were trained in 8-bit integers: what leaves them are their integers, in every runtime and command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.test_quantize import _images

from mobilenets import checkpoint
from mobilenets.analysis.trace import trace
from mobilenets.errors import ExportError
from mobilenets.exporters.lower import lower
from mobilenets.exporters.ready import engine_of
from mobilenets.exporters.table import export
from mobilenets.model import create
from mobilenets.qat.model import QuantizedModel
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.predictor import Predictor


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    """MobileNetV1 0.25 at 32 px, as a training in integers begins with it."""
    floats = trained(create(SPECS["v1"]()))
    graph = lower(floats)
    made = QuantizedModel(floats.spec, quantized_by_min_max(graph, _images(graph, 8)))
    made.load_state_dict(floats.state_dict(), strict=False)
    return made


@pytest.mark.parametrize("to", ["onnx", "openvino", "tflite"])
def test_its_files_are_in_integers(to: str, model: QuantizedModel, tmp_path: Path) -> None:
    parity = export(model, tmp_path, to=to)
    [logits] = parity.outputs
    assert logits.steps is not None
    assert Predictor.open(tmp_path).manifest.precision == "int8"


def test_its_weights_are_not_kept_in_16_bits(model: QuantizedModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="weights of 8 bits cannot be kept in 16, as tflite-half does"):
        export(model, tmp_path, to="tflite-half")


def test_its_checkpoint_predicts_in_integers(model: QuantizedModel, tmp_path: Path) -> None:
    checkpoint.save(model, tmp_path / "best")
    engine = engine_of(tmp_path / "best")
    assert isinstance(engine, OnnxEngine)
    assert engine.manifest().precision == "int8"


def test_its_cost_is_that_of_the_float_network(model: QuantizedModel) -> None:
    floats = model.floats()
    assert trace(floats, (1, 3, 32, 32)).macs == trace(create(model.spec), (1, 3, 32, 32)).macs
    for name, tensor in floats.state_dict().items():
        assert np.array_equal(tensor.numpy(), model.state_dict()[name].numpy())

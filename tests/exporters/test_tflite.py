"""TFLite files of all three tasks: written, opened and used as any other; what a phone's program sees inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tests.exporters.networks import SPECS

from mobilenets.errors import CheckpointError
from mobilenets.exporters.table import export
from mobilenets.model import create
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor


@pytest.mark.parametrize("task", SPECS)
def test_a_predictor_gives_the_same_from_tflite_as_from_onnx(task: str, tmp_path: Path) -> None:
    model = create(SPECS[task])
    for kind in ("onnx", "tflite"):
        assert export(model, tmp_path / kind, to=kind).passed
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    by_onnx, by_tflite = (Predictor.open(tmp_path / kind) for kind in ("onnx", "tflite"))
    assert by_tflite.manifest == by_onnx.manifest == manifest_of(model.spec)
    first, second = (predictor.run(predictor_input(predictor)) for predictor in (by_onnx, by_tflite))
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=1e-3, atol=1e-4 * np.abs(values).max())
    assert type(by_tflite.predict(image)) is type(by_onnx.predict(image))


def predictor_input(predictor: Predictor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    contract = predictor.manifest.input
    return np.random.default_rng(1).normal(size=(3, 3, *contract.shape)).astype(np.float32)


def test_other_programs_find_image_and_logits_by_name(tmp_path: Path) -> None:
    export(create(SPECS["classify"]), tmp_path, to="tflite")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    signature = interpreter.get_signature_list()["serving_default"]
    assert signature == {"inputs": ["image"], "outputs": ["logits"]}
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 48, 48, 3]


def test_weights_in_16_bits_take_half_the_room(tmp_path: Path) -> None:
    model = create(SPECS["classify"])
    export(model, tmp_path, to="tflite")
    export(model, tmp_path, to="tflite-half")
    whole, half = (tmp_path / name for name in ("model.tflite", "half.tflite"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert LiteRtEngine(half).precision == "float16"


@pytest.mark.parametrize("damage", [b"TFL3", bytes(200)])
def test_a_damaged_file_is_refused(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(damage)
    with pytest.raises(CheckpointError, match="is not a network that LiteRT can run"):
        Predictor.open(tmp_path / "model.tflite")

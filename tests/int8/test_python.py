"""`mobilenets.quantize`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mobilenets
from mobilenets.model import Model
from mobilenets.specs.rows import BackboneSpec, Conv, Separable

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def model() -> Model:
    spec = mobilenets.ModelSpec(
        BackboneSpec("plain", (Conv(8, 3, 2), Separable(16, 2))), LABELS, mobilenets.InputContract(32, crop=1.0)
    )
    return mobilenets.create(spec, seed=3).eval()


def test_a_model_is_quantized_and_opens(model: Model, data: Path, tmp_path: Path) -> None:
    dataset = mobilenets.open_dataset(data)
    known = mobilenets.quantize(model, dataset, tmp_path / "int8", max_drop=100)
    assert known.passed
    assert (known.images, known.judged_on, known.metric) == (24, len(dataset.split("val")), "top1")
    image = next((data / "test" / "red").iterdir())
    logits = {}
    mobilenets.export(model, tmp_path / "float")
    for name in ("int8", "float"):
        predictor = mobilenets.Predictor.open(tmp_path / name)
        logits[name] = predictor.predict(image).scores  # type: ignore[union-attr]  # a classifier
    assert np.abs(np.subtract(logits["int8"], logits["float"])).max() < 0.05
    assert (tmp_path / "int8" / "quantization" / "report.json").is_file()


def test_what_does_not_fit_the_model_is_refused_before_anything_is_computed(model: Model, data: Path, tmp_path: Path) -> None:
    dataset = mobilenets.open_dataset(data)
    with pytest.raises(mobilenets.DataError, match="no train split"):
        mobilenets.quantize(model, replace(dataset, samples=dataset.split("val")), tmp_path / "int8")
    with pytest.raises(mobilenets.DataError, match="segmentation dataset, but the model is a classification model"):
        mobilenets.quantize(model, replace(dataset, task="segment"), tmp_path / "int8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.txt").touch()
    with pytest.raises(mobilenets.UsageError, match="holds something other"):
        mobilenets.quantize(model, dataset, tmp_path / "full")
    assert not (tmp_path / "int8").exists()

"""Runs that were trained in 8-bit integers, on the command line, and what cannot begin such a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Done
from tests.deploy.conftest import LABELS, SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.test_quantize import _images

from mobilenets import checkpoint
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.qat.model import QuantizedModel

Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with MobileNetV1 0.25 at 32 px, as a training in integers begins with it."""
    floats = trained(create(SPECS["v1"]()))
    graph = lower(floats)
    made = QuantizedModel(floats.spec, quantized_by_min_max(graph, _images(graph, 8)))
    made.load_state_dict(floats.state_dict(), strict=False)
    checkpoint.save(made, tmp_path / "run" / "best")
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """12 images of noise in a folder for each class."""
    random = np.random.default_rng(0)
    for i in range(36):
        path = tmp_path / "photos" / LABELS[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(path)
    return tmp_path / "photos"


def test_a_run_in_integers_is_exported_with_integer_ends(mobilenets: Run, run: Path) -> None:
    done = mobilenets("export", run, "--to", "tflite", "--ends", "int8", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["parity"]["steps"] == 16
    assert (run / "export" / "model.tflite").is_file()


def test_a_run_in_integers_costs_what_its_float_network_does(mobilenets: Run, run: Path) -> None:
    done = mobilenets("info", run, "--json")
    assert done.code == 0, done.err


def test_a_run_in_integers_needs_no_quantization(mobilenets: Run, run: Path, photos: Path) -> None:
    done = mobilenets("quantize", run, "--images", photos)
    assert done.code == 2
    assert "was trained with quantize=int8 and is an int8 model already" in done.err
    assert f"mobilenets export {run} --to tflite" in done.err


@pytest.mark.parametrize("weights", ["none", "auto"])
def test_a_training_in_integers_needs_weights(weights: str, mobilenets: Run, photos: Path, tmp_path: Path) -> None:
    done = mobilenets("train", photos, "--set", "quantize=int8", "--weights", weights, "--out", tmp_path / "int8")
    assert done.code == 2
    assert "quantize=int8 starts from a float network that was trained" in done.err
    assert not (tmp_path / "int8").exists()


def test_a_training_in_integers_is_not_cross_validated(mobilenets: Run, run: Path, photos: Path, tmp_path: Path) -> None:
    options = ["--weights", run, "--set", "quantize=int8", "--folds", "3", "--out", tmp_path / "int8"]
    done = mobilenets("train", photos, *options)
    assert done.code == 2
    assert "--folds evaluates on images that no weights have seen" in done.err


@pytest.mark.slow
def test_a_training_in_integers_ends_like_every_other(mobilenets: Run, run: Path, photos: Path, tmp_path: Path) -> None:
    options = ["--weights", run, "--set", "quantize=int8", "--epochs", "1", "--set", "batch=8", "--out", tmp_path / "int8"]
    done = mobilenets("train", photos, *options, "--set", "learning_rate=1e-6")
    assert done.code == 0, done.err
    assert (tmp_path / "int8" / "report" / "report.json").is_file()
    assert mobilenets("predict", tmp_path / "int8", photos / "a" / "00.png").code == 0
    assert mobilenets("evaluate", tmp_path / "int8", photos, "--engine", "torch").code == 0
    assert mobilenets("train", photos, "--out", tmp_path / "int8", "--resume").code == 0

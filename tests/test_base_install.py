"""Prediction with only the base install. `make test-base` creates the venv from the wheel and names its interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.exporters.onnx import export_onnx
from mobilenets.model import create
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base() -> str:
    python = os.environ.get("MOBILENETS_BASE_PYTHON", "")
    if not python:
        pytest.skip("MOBILENETS_BASE_PYTHON is not set; 'make test-base' creates a venv with only the base install and sets it")
    return python


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)).save(folder / "image.png")
    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), InputContract(size=32))
    export_onnx(create(spec), folder / "model.onnx")
    return folder / "model.onnx"


def output(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_base_install_has_no_torch(base: str, tmp_path: Path) -> None:
    found = output(base, "-c", "import torch", folder=tmp_path)
    assert "No module named 'torch'" in found.stderr


def test_the_wheel_has_the_headers_of_exported_cpp(base: str, tmp_path: Path) -> None:
    code = """
from pathlib import Path
from mobilenets.deploy.cpp.sources import copy_headers
copy_headers(Path("headers"))
"""
    found = output(base, "-P", "-c", code, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "headers" / "simd" / "dsp.hpp").is_file()


def test_predictor_opens_and_predicts_the_same_scores(base: str, network: Path) -> None:
    code = """
from mobilenets import Predictor
print(*(score for label, score in sorted(Predictor.open("model.onnx").predict("image.png").top(2))))
"""
    found = output(base, "-c", code, folder=network.parent)
    assert found.returncode == 0, found.stderr
    prediction = Predictor.open(network).predict(network.parent / "image.png")
    assert isinstance(prediction, Classification)
    expected = sorted(prediction.top(2))
    np.testing.assert_allclose([float(score) for score in found.stdout.split()], [score for _, score in expected], rtol=1e-5)


def test_the_command_line_predicts(base: str, network: Path) -> None:
    found = output(base, "-m", "mobilenets", "predict", "model.onnx", "image.png", "--json", folder=network.parent)
    assert found.returncode == 0, found.stderr
    assert (
        {"cat", "dog"} >= {json.loads(found.stdout.splitlines()[0])["label"]} if found.stdout.startswith("{") else found.stdout
    )


def test_a_file_is_benchmarked(base: str, network: Path, tmp_path: Path) -> None:
    arguments = ("benchmark", str(network), "--seconds", "0.1", "--rounds", "2", "--out", "out", "--json")
    found = output(base, "-m", "mobilenets", *arguments, folder=tmp_path)
    assert found.returncode == 0, found.stderr
    rows = {row["runtime"]: row for row in json.loads(found.stdout)["rows"]}
    assert rows["onnx"]["p50_ms"] > 0
    assert all("openvino" in row["error"] for name, row in rows.items() if name != "onnx"), rows


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["predict", "--help"], ["train", "--help"], ["export", "--help"]]
)
def test_commands_that_need_no_torch_run(arguments: list[str], base: str, tmp_path: Path) -> None:
    found = output(base, "-m", "mobilenets", *arguments, folder=tmp_path)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("arguments", [["info", "mobilenet_v2"], ["models"]])
def test_networks_and_their_cost_are_listed(arguments: list[str], base: str, tmp_path: Path) -> None:
    found = output(base, "-m", "mobilenets", *arguments, folder=tmp_path)
    assert found.returncode == 0
    assert "3.50 M" in found.stdout  # V2's parameters (V2, Table 4: 3.4 M)


@pytest.mark.parametrize("arguments", [["train", "photos"], ["export", "runs/photos"]])
def test_a_command_that_needs_torch_names_the_extra(arguments: list[str], base: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    found = output(base, "-m", "mobilenets", *arguments, folder=tmp_path)
    assert found.returncode == 1
    assert found.stderr.startswith("error: ")
    assert "hint: pip install '.[train]' in your clone of mobilenets" in found.stderr


def test_the_server_names_its_extra(base: str, network: Path) -> None:
    found = output(base, "-m", "mobilenets", "serve", "model.onnx", folder=network.parent)
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == "hint: pip install '.[serve]' in your clone of mobilenets"


def test_a_name_that_needs_torch_names_the_extra(base: str, tmp_path: Path) -> None:
    found = output(base, "-c", "import mobilenets; mobilenets.create", folder=tmp_path)
    assert "MissingExtraError: this needs 'torch', which is not installed" in found.stderr

"""A checkpoint that predicts at once."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets import checkpoint
from mobilenets.errors import CheckpointError
from mobilenets.exporters.table import export
from mobilenets.model import TorchEngine, create
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.table import ENGINES
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv

SPEC = ModelSpec(BackboneSpec("tiny", (Conv(8, 3, 2),)), ("cat", "dog"), InputContract(size=16))
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8))


def scores(predictor: Predictor) -> list[float]:
    found = predictor.predict(IMAGE)
    assert isinstance(found, Classification)
    return [float(score) for score in found.scores]


def expected(seed: int) -> list[float]:
    model = create(SPEC, seed=seed).eval()
    engine = TorchEngine(model)
    return scores(Predictor(engine.manifest(), engine))


@pytest.mark.parametrize("inside", ["", "last"])
def test_a_checkpoint_is_exported_once_quietly_and_the_export_is_kept(
    tmp_path: Path, inside: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run" / inside
    checkpoint.save(create(SPEC, seed=1), folder)
    first = Predictor.open(tmp_path / "run")
    assert isinstance(first.engine, OnnxEngine)
    written = (folder / "model.onnx").stat().st_mtime_ns
    second = Predictor.open(tmp_path / "run")
    assert (folder / "model.onnx").stat().st_mtime_ns == written
    assert capfd.readouterr() == ("", "")
    assert scores(first) == scores(second) == pytest.approx(expected(1), abs=1e-5)


@pytest.mark.parametrize(("engine", "file"), [("tflite", "model.tflite"), ("native", "model.graph")])
@pytest.mark.parametrize("before", [False, True], ids=["exported for nothing", "exported for another"])
def test_a_runtime_that_is_asked_for_gets_its_file_once(
    engine: str, file: str, before: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip({"tflite": "ai_edge_litert", "native": "mobilenets_native"}[engine])
    checkpoint.save(create(SPEC, seed=1), tmp_path / "best")
    if before:
        export(create(SPEC, seed=2), tmp_path / "export")
    capfd.readouterr()
    first = Predictor.open(tmp_path, engine=engine)
    assert isinstance(first.engine, ENGINES[Path(file).suffix].open)  # type: ignore[arg-type]  # a class
    written = (tmp_path / "best" / file).stat().st_mtime_ns
    second = Predictor.open(tmp_path, engine=engine)
    assert (tmp_path / "best" / file).stat().st_mtime_ns == written
    assert capfd.readouterr() == ("", "")
    assert scores(first) == scores(second) == pytest.approx(expected(1), abs=1e-5)


def test_the_native_engine_gets_a_file_of_its_own_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("mobilenets_native")
    checkpoint.save(create(SPEC, seed=1), tmp_path / "best")
    Predictor.open(tmp_path)
    assert (tmp_path / "best" / "model.graph").is_file()
    assert scores(Predictor.open(tmp_path, engine="native")) == pytest.approx(expected(1), abs=1e-5)


@pytest.mark.slow
def test_a_newer_checkpoint_is_exported_anew_and_the_best_one_goes_before_the_last(tmp_path: Path) -> None:
    checkpoint.save(create(SPEC, seed=1), tmp_path / "last")
    assert scores(Predictor.open(tmp_path)) == pytest.approx(expected(1), abs=1e-5)
    checkpoint.save(create(SPEC, seed=2), tmp_path / "last")
    assert scores(Predictor.open(tmp_path)) == pytest.approx(expected(2), abs=1e-5)
    checkpoint.save(create(SPEC, seed=3), tmp_path / "best")
    assert scores(Predictor.open(tmp_path)) == pytest.approx(expected(3), abs=1e-5)


def test_where_nothing_can_be_written_torch_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(create(SPEC, seed=1), tmp_path / "best")

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refused)
    predictor = Predictor.open(tmp_path)
    assert isinstance(predictor.engine, TorchEngine)
    assert scores(predictor) == pytest.approx(expected(1), abs=1e-6)


def test_without_torch_a_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    checkpoint.save(create(SPEC), tmp_path / "best")
    program = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Blocker())
sys.argv = ["mobilenets", "predict", {str(tmp_path)!r}, "a.jpg"]
from mobilenets.cli.app import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not exported yet, and exporting it needs 'torch', which is not installed" in done.stderr
    assert f"pip install 'mobilenets[train]', or export it where that is installed: mobilenets export {tmp_path}" in done.stderr


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint.save(create(replace(SPEC, labels=("a", "b", "c"))), tmp_path / "best")
    (tmp_path / "best" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        Predictor.open(tmp_path)

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.onnx import OnnxEngine


def test_outputs_come_by_name_for_any_batch(color_model: Path) -> None:
    batch = np.zeros((3, 3, 16, 16), np.float32)
    batch[1, 2] = 0.5
    outputs = OnnxEngine(color_model).run(batch)
    assert outputs["logits"].tolist() == [[0, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_manifest_is_read_from_the_file(color_model: Path) -> None:
    assert OnnxEngine(color_model).manifest().labels == ("red", "green", "blue")


def test_nothing_is_kept_for_its_makers(color_model: Path, tmp_path: Path) -> None:
    """ONNX Runtime would write an identifier and events to the home folder, and send them."""
    hidden = {"ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME"}  # it is silent in a CI, too
    environment = {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("PYTEST")}
    code = f"from mobilenets.runtime.predictor import Predictor; Predictor.open({str(color_model)!r}, engine='onnx')"
    subprocess.run([sys.executable, "-c", code], env={**environment, "HOME": str(tmp_path)}, check=True, timeout=120)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name] == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model at '.*nowhere\.onnx'"):
        OnnxEngine(tmp_path / "nowhere.onnx")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a protobuf at all")
    with pytest.raises(CheckpointError, match="not an ONNX model"):
        OnnxEngine(path)


def test_a_truncated_model_is_refused(tmp_path: Path, color_model: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(color_model.read_bytes()[:150])
    with pytest.raises(CheckpointError, match="not an ONNX model"):
        OnnxEngine(path)


def test_a_model_of_someone_else_says_what_it_lacks(tmp_path: Path, color_model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(color_model)
    del model.metadata_props[:]
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match=r"foreign\.onnx' has no 'mobilenets' metadata"):
        OnnxEngine(path).manifest()


def test_an_operator_that_is_not_utf8_is_refused_without_a_word_on_standard_output(
    tmp_path: Path, color_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(color_model.read_bytes().replace(b"Flatten", b"Fl\xe9tten"))
    with pytest.raises(CheckpointError, match="not an ONNX model"):
        OnnxEngine(path)
    assert capfd.readouterr().out == ""

from __future__ import annotations

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

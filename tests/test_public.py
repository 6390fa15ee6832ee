"""The public names: complete, and `load` takes whatever holds weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mobilenets
from mobilenets import errors
from mobilenets.model import Model
from mobilenets.runtime.manifest import manifest_of, write_beside
from mobilenets.specs.rows import BackboneSpec, Conv

SPEC = mobilenets.ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), ("cat", "dog"), mobilenets.InputContract(32))


def run_with_export(folder: Path) -> Model:
    """A run folder with checkpoints and exported files, the latter as empty as `load` needs them; the best model."""
    best = mobilenets.create(SPEC, seed=1)
    mobilenets.save(best, folder / "best")
    mobilenets.save(mobilenets.create(SPEC, seed=2), folder / "last")
    (folder / "export").mkdir()
    (folder / "export" / "model.onnx").write_bytes(b"")
    (folder / "export" / "model.tflite").write_bytes(b"")
    write_beside(folder / "export" / "model.tflite", manifest_of(SPEC))
    return best


@pytest.mark.parametrize(
    "source", ["", "best", "best/model.safetensors", "best/model.json", "export/model.onnx", "export/model.tflite"]
)
def test_load_takes_a_run_a_checkpoint_their_files_and_exported_files(source: str, tmp_path: Path) -> None:
    best = run_with_export(tmp_path)
    loaded = mobilenets.load(tmp_path / source)
    assert isinstance(loaded, Model)
    assert torch.equal(loaded.head.linear.weight, best.head.linear.weight)
    assert not loaded.training


def test_load_takes_text_for_a_path(tmp_path: Path) -> None:
    run_with_export(tmp_path)
    assert mobilenets.load(str(tmp_path)).spec == SPEC


def test_an_exported_file_away_from_its_run_says_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(mobilenets.CheckpointError, match="is an exported network, which only predicts") as caught:
        mobilenets.load(tmp_path / "model.onnx")
    assert "mobilenets.Predictor.open" in caught.value.hint


def test_load_names_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(mobilenets.MobileNetsError, match="nowhere"):
        mobilenets.load(tmp_path / "nowhere")


def test_every_error_is_public() -> None:
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert "MobileNetsError" in tree
    assert tree <= set(mobilenets.__all__)
    assert all(issubclass(getattr(mobilenets, name), mobilenets.MobileNetsError) for name in tree)

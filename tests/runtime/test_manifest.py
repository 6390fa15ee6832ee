from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilenets.errors import CheckpointError
from mobilenets.runtime.manifest import Manifest, beside, manifest_of, read_beside, write_beside
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, ClassifierHead, InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Conv

CONTRACT = InputContract(192, 3, IMAGENET_MEAN, IMAGENET_STD, "shorter_side_then_crop", 0.875, "bicubic")
MANIFEST = Manifest("mobilenet_v2", ("Möwe", "雪"), CONTRACT, ClassifierHead(1.7))


def test_json_reads_back_to_an_equal_manifest() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_manifest_of_a_spec_takes_labels_input_and_head() -> None:
    spec = ModelSpec(BackboneSpec("tiny", (Conv(8),)), ("a", "b"), CONTRACT, head=ClassifierHead(temperature=2.5))
    assert manifest_of(spec) == Manifest("tiny", ("a", "b"), CONTRACT, ClassifierHead(2.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"head": {"head": "Juggler"}}, "no head 'Juggler'"),
        ({"head": {"temperature": 0}}, "not positive"),
        ({"unheard": 1}, "unheard"),
        ({"input": {"size": 3}}, "not an input contract"),
    ],
)
def test_a_strange_manifest_is_refused_with_its_reason(change: dict[str, object], message: str) -> None:
    text = json.dumps({**json.loads(MANIFEST.to_json()), **change})
    with pytest.raises(CheckpointError, match=message):
        Manifest.from_json(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"format": 2}'])
def test_text_that_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="not a manifest"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "int3"}, "precision is 'int3', which is not one of float32, float16, bfloat16, int8, int8_weights"),
        (
            {"input": {**json.loads(MANIFEST.to_json())["input"], "size": 10**9}},
            "input.size is 1000000000, expected",
        ),
        ({"input": {**json.loads(MANIFEST.to_json())["input"], "mean": "abc"}}, "input.mean is 'abc', expected array"),
        ({"input": {**json.loads(MANIFEST.to_json())["input"], "mean": [float("nan")]}}, r"input.mean\[0\] is NaN"),
        ({"labels": []}, "labels is a list of 0"),
        ({"labels": ["a", 3]}, r"labels\[1\] is 3, expected str"),
        ({"head": "x"}, "head is 'x', expected object"),
        ({"format": True}, "format True"),
        ({"format": [1]}, r"format \[1\]"),
        ({"format": "3"}, "format 3"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], message: str) -> None:
    text = json.dumps({**json.loads(MANIFEST.to_json()), **change})
    with pytest.raises(CheckpointError, match=message):
        Manifest.from_json(text)


def test_a_manifest_beside_a_file_reads_back_equal(tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(b"program")
    write_beside(tmp_path / "model.pte", MANIFEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pte", "model.pte.json"]
    assert read_beside(tmp_path / "model.pte") == MANIFEST


def test_a_manifest_that_says_no_file_lies_beside_any(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of another library")
    beside(tmp_path / "model.onnx").write_text(MANIFEST.to_json())
    assert read_beside(tmp_path / "model.onnx") == MANIFEST


@pytest.mark.parametrize(
    ("content", "difference"),
    [(b"", "0 bytes instead of 7"), (b"prog", "4 bytes instead of 7"), (b"Program", "other bytes"), (bytes(7), "other bytes")],
)
def test_a_manifest_of_another_file_is_refused(tmp_path: Path, content: bytes, difference: str) -> None:
    file = tmp_path / "model.pte"
    file.write_bytes(b"program")
    write_beside(file, MANIFEST)
    file.write_bytes(content)
    message = rf"model.pte' is not the file that 'model.pte.json' beside it was written for: it has {difference}"
    with pytest.raises(CheckpointError, match=message):
        read_beside(file)


@pytest.mark.parametrize("change", ["a file is gone", "a file is renamed", "a file is another"])
def test_a_manifest_of_another_folder_is_refused(tmp_path: Path, change: str) -> None:
    package = tmp_path / "model.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    (package / "Data" / "weight.bin").write_bytes(b"weights")
    write_beside(package, MANIFEST)
    assert read_beside(package) == MANIFEST
    weights = package / "Data" / "weight.bin"
    if change == "a file is gone":
        weights.unlink()
    elif change == "a file is renamed":
        weights.rename(package / "Data" / "weights.bin")
    else:
        weights.write_bytes(b"wEights")
    with pytest.raises(CheckpointError, match=r"is not the file that 'model.mlpackage.json' beside it was written for"):
        read_beside(package)


def test_a_missing_or_damaged_manifest_beside_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model.tflite' has no 'model.tflite.json' beside it"):
        read_beside(tmp_path / "model.tflite")
    beside(tmp_path / "model.tflite").write_text("{")
    with pytest.raises(CheckpointError, match=r"model.tflite.json': not a manifest: not JSON"):
        read_beside(tmp_path / "model.tflite")

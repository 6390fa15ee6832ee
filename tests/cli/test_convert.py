from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision
from typer.testing import CliRunner

from mobilenets import checkpoint
from mobilenets.cli.app import build
from mobilenets.errors import UsageError, WeightsError


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(build("convert"), ["convert", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save(torchvision.models.mobilenet_v3_small(width_mult=0.35, num_classes=2).state_dict(), path)
    return path


def test_a_tflite_file_becomes_a_checkpoint(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = shared / "weights/mobilenet_v1_0.25_128_quant.tflite"
    shown = run(source, "--labels", shared / "weights/imagenet_labels.txt")
    for part in (
        "mobilenet_v1, width 0.25, 0.47 M parameters",
        "1000: tench",
        "128 x 128",
        "folded",
        "mobilenets train photos/",
    ):
        assert part in shown
    spec = checkpoint.load(tmp_path / "mobilenet_v1_0.25_128_quant").spec
    assert (spec.labels[0], spec.labels[-1]) == ("tench, Tinca tinca", "toilet tissue, toilet paper, bathroom tissue")


def test_what_was_found_is_printed_for_programs(state: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    found = json.loads(run(state, "--out", tmp_path / "kept", "--labels", labels, "--from", "torchvision", "--json"))
    assert (found["network"], found["width"], found["padding"], found["folded"]) == (
        "mobilenet_v3_small",
        0.35,
        "symmetric",
        False,
    )
    assert found["labels"] == ["cat", "dog"]
    assert checkpoint.load(tmp_path / "kept").spec.labels == ("cat", "dog")


def test_what_was_guessed_is_said_and_can_be_given(state: Path, tmp_path: Path) -> None:
    found = json.loads(run(state, "--out", tmp_path / "a", "--json"))
    assert found["known"] == dict.fromkeys(("size", "pixels", "resize", "crop", "labels"), "guessed")
    given = ("--pixels", "-1..1", "--resize", "stretch", "--crop", "1", "--size", "96")
    found = json.loads(run(state, "--out", tmp_path / "b", "--json", *given))
    assert found["known"] == {**dict.fromkeys(("size", "pixels", "resize", "crop"), "given"), "labels": "guessed"}
    assert (found["input"]["size"], found["input"]["resize"], found["input"]["mean"]) == (96, "stretch", [0.5, 0.5, 0.5])
    with pytest.raises(UsageError, match="pixels '0-1' is not one of"):
        run(state, "--out", tmp_path / "c", "--pixels", "0-1")


def test_the_table_says_where_each_part_is_known_from(state: Path, tmp_path: Path) -> None:
    shown = run(state, "--out", tmp_path / "kept")
    kept = f"to predict: mobilenets predict {tmp_path / 'kept'} image.jpg"
    for part in ("known from", "torchvision file", "guessed", "verified:   all 244 tensors were used", kept):
        assert part in shown


def test_labels_of_another_count_are_an_error_and_nothing_is_written(state: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\ncow\n")
    with pytest.raises(WeightsError, match="3 labels for 2 classes"):
        run(state, "--out", tmp_path / "kept", "--labels", labels)
    assert not (tmp_path / "kept").exists()


def test_another_network_than_expected_is_an_error(state: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds mobilenet_v3_small 0\.35, not mobilenet_v2"):
        run(state, "--out", tmp_path / "kept", "--model", "mobilenet_v2")

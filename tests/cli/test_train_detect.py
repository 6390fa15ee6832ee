"""`mobilenets train` on images with boxes, and what comes after it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mobilenets import checkpoint
from mobilenets.cli.app import build
from mobilenets.data.checks.boxes import repaired
from mobilenets.data.open import open_dataset
from mobilenets.errors import CheckpointError, RecipeError
from mobilenets.model import create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract
from mobilenets.specs.ssd import SsdHead
from mobilenets.training.heads import spec_for
from mobilenets.training.loop import train
from mobilenets.training.recipe import with_overrides
from mobilenets.training.recipes import recipe

TINY = ("--weights", "none", "--width", "0.1", "--size", "64", "--set", "workers=0", "--folds", "0")


def run(verb: str, *arguments: object) -> Result:
    result = CliRunner().invoke(build(verb), [verb, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def boxes(folder: Path) -> Path:
    """Eighteen images with a red and a blue rectangle each, in a CSV: one box twice, some beyond their images."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows: list[tuple[Any, ...]] = []
    for i in range(18):
        pixels = random.integers(90, 170, (48, 64, 3)).astype(np.uint8)
        for k, (label, color) in enumerate((("red", (220, 40, 40)), ("blue", (40, 40, 220)))):
            x, y = 2 + 32 * ((i + k) % 2), int(random.integers(0, 20))
            pixels[y : y + 24, x : x + 28] = color
            rows.append((f"{i:02d}.png", label, x, y, x + (70 if i < 4 and k else 28), y + 24))
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("path", "label", "x0", "y0", "x1", "y1"), *rows, rows[0]])
    return folder / "boxes.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """The list, a run on it that was stopped after a step, and what the command said that resumed it."""
    folder = tmp_path_factory.mktemp("trained")
    data, place = boxes(folder / "cells"), folder / "run"
    settings = with_overrides(recipe("detect"), ["width=0.1", "size=64", "epochs=1", "batch=4", "workers=0"])
    dataset = repaired(open_dataset(data))
    model = create(spec_for(dataset, backbone("mobilenet_v1", width=0.1), InputContract(), settings))
    steps = train(model, dataset, settings, place, device="cpu", source=str(data))
    next(steps)
    steps.close()
    return data, place, run("train", data, "--out", place, "--resume", "--json")


def test_a_list_of_boxes_becomes_a_run_with_everything_in_it(trained: tuple[Path, Path, Result]) -> None:
    _, place, result = trained
    told = json.loads(result.stdout)
    assert (told["run"], told["split"]) == (str(place), "test")
    assert 0 <= told["metrics"]["map50"] <= 1
    assert set(told["best"]) == {"train_loss", "val_map", "val_map50", "val_map75", "val_recall"}
    for name in ("run.json", "splits.csv", "metrics.csv", "curves.png", "last/model.json", "report/report.html"):
        assert (place / name).is_file(), name
    parity = json.loads((place / "export" / "parity.json").read_text())
    assert parity["passed"] is True
    assert {one["name"] for one in parity["outputs"]} == {"logits", "offsets"}
    head = checkpoint.load(place).spec.head
    assert isinstance(head, SsdHead)
    assert len(head.class_thresholds) == 2


def test_what_is_wrong_with_boxes_is_put_right_and_said(trained: tuple[Path, Path, Result]) -> None:
    said = trained[2].stderr
    assert "boxes of train: 3 clipped to the image, 1 that repeat" in said
    assert "val mAP50 0." in said


def test_the_run_is_evaluated_on_its_own_test_split(trained: tuple[Path, Path, Result]) -> None:
    _, place, result = trained
    again = json.loads(run("evaluate", place, "--json", "--out", place / "again").stdout)
    assert again["metrics"]["map50"]["value"] == pytest.approx(json.loads(result.stdout)["metrics"]["map50"], abs=1e-6)


def test_the_run_predicts(trained: tuple[Path, Path, Result]) -> None:
    data, place, _ = trained
    found = json.loads(run("predict", place, data.parent / "00.png", "--threshold", 0, "--json").stdout)
    assert {one["label"] for one in found["boxes"]} <= {"red", "blue"}
    for one in found["boxes"]:
        assert 0 <= one["x0"] <= one["x1"] <= 64
        assert 0 <= one["y0"] <= one["y1"] <= 48


def test_boxes_that_training_reads_past_are_warned_of_and_no_test_leaves_the_test_split_alone(tmp_path: Path) -> None:
    data = boxes(tmp_path / "cells")
    with data.open("a", newline="") as file:
        csv.writer(file).writerows([(f"{i:02d}.png", "red", 9, 9, 9, 30) for i in range(18)])  # in every split, no area
    options = (*TINY, "--model", "mobilenet_v1", "--epochs", 1, "--set", "batch=4", "--no-test", "--json")
    result = run("train", data, *options, "--out", tmp_path / "run")
    assert re.search(r"warning: \d\d\.png: 'red' at 9 9 9 30 has no area", result.stderr)
    assert re.search(r"warning: and \d+ more boxes without area", result.stderr)
    told = json.loads(result.stdout)
    assert told["split"] == "val"
    assert told["metrics"]["map50"] == pytest.approx(told["best"]["val_map50"], abs=0.02)  # exported, and as it was trained


def test_a_head_of_another_task_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="head=deeplab, but 'boxes' is a detection dataset"):
        run("train", boxes(tmp_path / "cells"), *TINY, "--set", "head=deeplab", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_boxes_choose_their_recipe_and_a_run_is_not_overwritten(trained: tuple[Path, Path, Result]) -> None:
    data, place, _ = trained
    result = CliRunner().invoke(build("train"), ["train", str(data), *TINY, "--out", str(place)])
    assert isinstance(result.exception, CheckpointError)
    assert "holds a run already" in str(result.exception)
    assert "mobilenet_v2 0.1 at 64 px, recipe detect" in result.stderr

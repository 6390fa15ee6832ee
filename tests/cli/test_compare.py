from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]  # Any: the fixture's `Done`
COLORS = {"red": "red", "green": "lime", "blue": "blue"}


def fill(folder: Path, wrong: int) -> Path:
    """A folder per label, four images each, of which some blue ones are red."""
    for label, color in COLORS.items():
        (folder / label).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (20, 30), "red" if label == "blue" and i < wrong else color).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture
def runs(mobilenets: Run, color_model: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The reports of two runs on images of the same names; the second was shown easier ones."""
    folders = []
    for name, wrong in (("first", 3), ("second", 0)):
        run = tmp_path / name
        (run / "export").mkdir(parents=True)
        shutil.copy(color_model, run / "export" / "model.onnx")
        data = fill(tmp_path / f"data-{name}" / "photos", wrong)
        done = mobilenets("evaluate", run, data, "--out", run / "report", "--worst", 0)
        assert done.code == 0, done.err
        folders.append(run)
    return folders[0], folders[1]


def test_runs_are_compared_by_their_reports_alone(mobilenets: Run, runs: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "data-first")
    shutil.rmtree(tmp_path / "data-second")
    done = mobilenets("compare", *runs, "--json", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert (data["metric"], data["images"], data["left_out"]) == ("top1", 12, 0)
    assert [row["name"] for row in data["rows"]] == ["first", "second"]
    assert [row["value"] for row in data["rows"]] == pytest.approx([9 / 12, 1])
    assert data["rows"][1]["p"] == pytest.approx(0.25)  # three images, all one way: 2 / 2 ** 3
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == data
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.html",
        "comparison.json",
        "comparison.md",
        "comparison.png",
    }


def test_the_table_shows_figures_intervals_and_a_verdict(mobilenets: Run, runs: tuple[Path, Path]) -> None:
    done = mobilenets("compare", *runs)
    assert done.code == 0, done.err
    for text in ("75.0%", "100.0%", "+25.0", "0.250", "●", "difference from first"):
        assert text in done.out
    assert "McNemar's exact test" in done.err


def test_runs_without_reports_are_evaluated(mobilenets: Run, runs: tuple[Path, Path], tmp_path: Path) -> None:
    for run in runs:
        shutil.rmtree(run / "report")
    data = fill(tmp_path / "new", 1)
    done = mobilenets("compare", *runs, "--data", data, "--json")
    assert done.code == 0, done.err
    assert [row["value"] for row in json.loads(done.out)["rows"]] == pytest.approx([11 / 12, 11 / 12])
    without = mobilenets("compare", *runs)
    assert (without.code, without.err.splitlines()[-1]) == (2, "hint: --data DATA")


def test_a_damaged_report_is_an_error_that_names_the_file(mobilenets: Run, runs: tuple[Path, Path]) -> None:
    path = runs[1] / "report" / "per_image.npz"
    path.write_bytes(path.read_bytes()[:200])
    done = mobilenets("compare", *runs)
    assert done.code == 1
    assert f"error: '{path}' is damaged" in done.err
    np.savez(path, names=np.array(["a"]))
    assert mobilenets("compare", *runs).code == 1


def test_wrong_usage_is_said(mobilenets: Run, runs: tuple[Path, Path]) -> None:
    assert mobilenets("compare", runs[0]).code == 2
    assert mobilenets("compare", *runs, "--split", "test").code == 2
    done = mobilenets("compare", *runs, "--metric", "map")
    assert done.code == 1
    assert "unknown metric 'map'" in done.err


def test_answers_of_cross_validation_are_not_held_against_images_that_a_model_was_trained_on(
    mobilenets: Run, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """The first run's report is of cross-validation, with 9 of 12 right; the second has no report, and learned from all 12."""
    data = tmp_path / "data-second" / "photos"
    lines = [f"{path},{path.parent.name},train,1,,{path.relative_to(data)},,," for path in sorted(data.rglob("*.png"))]
    table = "\n".join(["path,label,split,weight,group,name,offset,size,checksum", *lines, ""])
    for run, folds in zip(runs, (5, 0), strict=True):
        known = {"source": str(data), "name": "photos", "labels": sorted(COLORS), "task": "classify", "folds": folds}
        (run / "run.json").write_text(json.dumps({"format": 2, "data": known}))
        (run / "splits.csv").write_text(table)
    shutil.rmtree(runs[1] / "report")
    done = mobilenets("compare", *runs, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [row["value"] for row in told["rows"]] == [1, 1]
    assert told["trained_on"] == ["first", "second"]
    assert "'first', 'second' were trained on some of these images" in told["sentence"]
    assert "its report is a cross-validation" in done.err
    # Where both were measured by models that had not seen the images, reports are enough.
    shutil.copytree(runs[0] / "report", runs[1] / "report")
    shutil.copy(runs[0] / "run.json", runs[1] / "run.json")
    done = mobilenets("compare", *runs, "--json")
    assert [row["value"] for row in json.loads(done.out)["rows"]] == pytest.approx([9 / 12, 9 / 12])
    assert json.loads(done.out)["trained_on"] == []

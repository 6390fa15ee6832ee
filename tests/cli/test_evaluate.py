from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.data.open import open_dataset
from mobilenets.data.writers.lists import write_splits
from mobilenets.runtime.classify import Classification

Run = Callable[..., Any]  # Any: the fixture's `Done`
COLORS = {"red": "red", "green": "lime", "blue": "blue"}


def fill(folder: Path, count: int = 4) -> Path:
    """A folder per label; one red image lies among the blue ones."""
    for label, color in COLORS.items():
        (folder / label).mkdir(parents=True)
        for i in range(count):
            wrong = label == "blue" and i == 0
            Image.new("RGB", (20, 30), "red" if wrong else color).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture
def run_folder(tmp_path: Path, color_model: Path) -> Path:
    """A run that was trained on `photos`, of which one image a class was its test split."""
    run, photos = tmp_path / "run", fill(tmp_path / "photos")
    (run / "export").mkdir(parents=True)
    shutil.copy(color_model, run / "export" / "model.onnx")
    data = {"source": str(photos), "name": "photos", "fingerprint": "f00"}
    (run / "run.json").write_text(json.dumps({"recipe": {"epochs": 3}, "seed": 0, "data": data}))
    (run / "metrics.csv").write_text("epoch,train_loss,val_loss\n1,1.0,1.1\n2,0.5,0.8\n")
    dataset = open_dataset(photos)
    samples = (replace(sample, split="test" if sample.path.stem == "0" else "train") for sample in dataset.samples)
    write_splits(replace(dataset, samples=tuple(samples)), run / "splits.csv")
    return run


def test_a_folder_without_splits_is_evaluated_whole(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    done = mobilenets("evaluate", color_model, fill(tmp_path / "test"), "--out", tmp_path / "out")
    assert done.code == 0
    assert "12 images of 'test', every split" in done.err
    assert "91.7%" in done.out
    assert "blue/0.png" in done.out
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.err


def test_the_report_folder_is_complete(mobilenets: Run, run_folder: Path, tmp_path: Path) -> None:
    fill(tmp_path / "new")
    assert mobilenets("evaluate", run_folder, tmp_path / "new").code == 0
    folder = run_folder / "report-new"
    assert {path.name for path in folder.iterdir()} >= {"report.html", "report.md", "report.json", "predictions.csv"}
    data = json.loads((folder / "report.json").read_text())
    assert data["metrics"]["top1"]["value"] == pytest.approx(11 / 12)
    assert data["context"]["Recipe"] == {"epochs": 3}
    assert "Learning curves" in (folder / "report.html").read_text()


def test_what_was_measured_is_shown_where_the_report_cannot_be_written(mobilenets: Run, run_folder: Path) -> None:
    (run_folder / "report").write_text("in the way")
    done = mobilenets("evaluate", run_folder)
    assert done.code == 1
    assert "metric" in done.out
    assert f"error: '{run_folder / 'report'}': the report cannot be written" in done.err


def test_a_report_s_folder_is_tried_before_anything_is_measured(mobilenets: Run, run_folder: Path) -> None:
    file = run_folder / "run.json"
    for out, told in ((file, ""), (file / "report", f"'{file / 'report'}' cannot be created: ")):
        done = mobilenets("evaluate", run_folder, "--out", out)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: {told}'{file}' is a file, not a folder\n\nhint: ")


def test_the_report_of_another_split_leaves_that_of_test_as_it_is(mobilenets: Run, run_folder: Path) -> None:
    assert mobilenets("evaluate", run_folder).code == 0
    before = (run_folder / "report" / "report.json").read_bytes()
    assert mobilenets("evaluate", run_folder, "--split", "train").code == 0
    assert (run_folder / "report" / "report.json").read_bytes() == before
    assert json.loads((run_folder / "report-train" / "report.json").read_text())["images"] == 9
    assert mobilenets("evaluate", run_folder, "--split", "test").code == 0
    assert not (run_folder / "report-test").exists()


def test_a_report_of_more_images_stays_where_some_cannot_be_read_any_more(
    mobilenets: Run, run_folder: Path, tmp_path: Path
) -> None:
    assert mobilenets("evaluate", run_folder).code == 0
    before = (run_folder / "report" / "report.json").read_text()
    (tmp_path / "photos" / "red" / "0.png").unlink()
    done = mobilenets("evaluate", run_folder)
    assert done.code == 0
    assert f"'{run_folder / 'report'}' keeps its report of 3 images; only 2 could be read now" in done.err
    assert (run_folder / "report" / "report.json").read_text() == before
    assert json.loads((run_folder / "report-readable" / "report.json").read_text())["images"] == 2
    assert mobilenets("evaluate", run_folder, "--out", run_folder / "report").code == 0  # where the user says so
    assert json.loads((run_folder / "report" / "report.json").read_text())["images"] == 2


def test_a_run_remembers_its_data_and_its_test_split(mobilenets: Run, run_folder: Path) -> None:
    done = mobilenets("evaluate", run_folder, "--json")
    assert done.code == 0
    data = json.loads(done.out)
    assert (data["images"], data["metrics"]["top1"]["value"]) == (3, pytest.approx(2 / 3))
    assert [row["name"] for row in data["worst"]] == ["blue/0.png"]
    assert (run_folder / "report" / "report.html").is_file()


def test_the_splits_of_a_run_are_a_dataset(mobilenets: Run, run_folder: Path) -> None:
    done = mobilenets("evaluate", run_folder, run_folder / "splits.csv", "--json")
    data = json.loads(done.out)
    assert (data["images"], data["metrics"]["top1"]["value"]) == (3, pytest.approx(2 / 3))
    assert "3 images of 'photos', split test" in done.err
    assert (run_folder / "report" / "report.html").is_file()


def test_the_run_may_be_named_from_another_folder(
    mobilenets: Run, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (run_folder / "run.json").read_text().replace(str(tmp_path / "photos"), "photos")
    (run_folder / "run.json").write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json.loads(mobilenets("evaluate", "../run", "--json").out)["images"] == 3


def test_another_split_can_be_asked_for(mobilenets: Run, run_folder: Path) -> None:
    assert json.loads(mobilenets("evaluate", run_folder, "--split", "train", "--json").out)["images"] == 9
    assert json.loads(mobilenets("evaluate", run_folder, "--split", "all", "--json").out)["images"] == 12


def test_a_split_folder_gives_its_test_part(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "data" / "train")
    fill(tmp_path / "data" / "test", count=2)
    done = mobilenets("evaluate", color_model, tmp_path / "data", "--json", "--out", tmp_path / "out")
    assert json.loads(done.out)["images"] == 6


def test_a_missing_split_is_named(mobilenets: Run, run_folder: Path) -> None:
    done = mobilenets("evaluate", run_folder, "--split", "val")
    assert (done.code, done.err.splitlines()[0]) == (1, "error: 'photos' has no split 'val'; it has test, train")


def test_labels_the_model_does_not_know_are_named(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "test")
    (tmp_path / "test" / "green").rename(tmp_path / "test" / "yellow")
    done = mobilenets("evaluate", color_model, tmp_path / "test")
    assert done.code == 1
    assert "the data has 'yellow', which the model does not know; it knows 'red', 'green', 'blue'" in done.err


def test_labels_that_differ_in_case_or_separators_are_the_models_and_that_is_said(
    mobilenets: Run, color_model: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "test")
    expected = json.loads(mobilenets("evaluate", color_model, tmp_path / "test", "--out", tmp_path / "a", "--json").out)
    (tmp_path / "test" / "green").rename(tmp_path / "test" / "Gr_een")
    done = mobilenets("evaluate", color_model, tmp_path / "test", "--out", tmp_path / "b", "--json")
    assert done.code == 0
    assert "differ only in case, spaces, '-' or '_': 'Gr_een' is 'green'" in done.err
    values = {name: metric["value"] for name, metric in json.loads(done.out)["metrics"].items()}
    assert values == pytest.approx({name: metric["value"] for name, metric in expected["metrics"].items()})


def test_unreadable_images_are_named(mobilenets: Run, color_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "test")
    (tmp_path / "test" / "red" / "0.png").write_bytes(b"broken")
    done = mobilenets("evaluate", color_model, tmp_path / "test", "--out", tmp_path / "out")
    assert done.code == 0
    assert "red/0.png: the data is not an image of a known format: it begins with 'broken'" in done.err
    assert "red/0.png" in (tmp_path / "out" / "report.html").read_text()


def test_an_onnx_file_alone_needs_data(mobilenets: Run, color_model: Path) -> None:
    done = mobilenets("evaluate", color_model)
    assert (done.code, "so DATA is needed" in done.err) == (2, True)


@pytest.mark.parametrize("option", ["--split", "--engine"])
def test_unknown_choices_are_wrong_usage(mobilenets: Run, color_model: Path, option: str) -> None:
    done = mobilenets("evaluate", color_model, "x", option, "juggle")
    assert (done.code, "unknown" in done.err) == (2, True)


def test_a_run_without_export_is_evaluated_with_torch(mobilenets: Run, tmp_path: Path) -> None:
    from mobilenets import checkpoint
    from mobilenets.model import TorchEngine, create
    from mobilenets.runtime.manifest import manifest_of
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.specs.model import InputContract, ModelSpec
    from mobilenets.specs.rows import BackboneSpec, Conv

    spec = ModelSpec(BackboneSpec("plain", (Conv(8, 3, 2), Conv(8, 3, 2))), tuple(COLORS), InputContract(size=32))
    model = create(spec)
    checkpoint.save(model, tmp_path / "run" / "best")
    done = mobilenets("evaluate", tmp_path / "run", fill(tmp_path / "test"), "--out", tmp_path / "out")
    assert (done.code, "has no export; evaluating its checkpoint with torch" in done.err) == (0, True)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    predictor = Predictor(manifest_of(spec), TorchEngine(model))
    for row in rows:
        expected = predictor.predict(tmp_path / "test" / row["name"])
        assert isinstance(expected, Classification)
        assert row["predicted"] == expected.label
        assert float(row["score"]) == pytest.approx(expected.score, abs=1e-5)


def test_the_onnx_engine_is_not_replaced_when_asked_for(mobilenets: Run, tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    done = mobilenets("evaluate", tmp_path / "run", fill(tmp_path / "test"), "--engine", "onnx")
    assert (done.code, done.err.splitlines()[-1]) == (1, f"hint: mobilenets export {tmp_path / 'run'} --to onnx")


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_no_report_is_written_among_the_images_of_a_dataset(
    command: str, mobilenets: Run, color_model: Path, tmp_path: Path
) -> None:
    data = fill(tmp_path / "data")
    before = sorted(data.rglob("*"))
    models = [color_model] if command == "evaluate" else [color_model, color_model, "--data"]
    done = mobilenets(command, *models, data, "--out", data)
    assert done.code == 2
    assert f"error: '{data}' holds something other than a report" in done.err
    assert sorted(data.rglob("*")) == before


def test_copies_of_training_images_elsewhere_are_said_to_be_trained_on(
    mobilenets: Run, run_folder: Path, tmp_path: Path
) -> None:
    for folder, copied in (("copy", True), ("new", False)):
        for label, color in COLORS.items():
            (tmp_path / folder / label).mkdir(parents=True)
            image = tmp_path / "photos" / label / "1.png"
            if copied:
                shutil.copy(image, tmp_path / folder / label / "a.png")
            else:
                Image.new("RGB", (21, 31), color).save(tmp_path / folder / label / "a.png")
        done = mobilenets("evaluate", run_folder, tmp_path / folder)
        assert done.code == 0, done.err
        assert ("The model was trained on these images" in done.out) is copied
        both = mobilenets("compare", run_folder, run_folder / "export" / "model.onnx", "--data", tmp_path / folder)
        assert both.code == 0, both.err
        assert ("trained on some of these images" in both.err) is copied

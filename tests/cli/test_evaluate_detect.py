from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.cli.quantize_images import material
from mobilenets.cli.reading import Reading
from mobilenets.data.open import open_dataset
from mobilenets.data.writers.lists import write_splits
from mobilenets.errors import DataError
from mobilenets.runtime.predictor import Predictor

Run = Callable[..., Any]  # Any: the fixture's `Done`
SIDE = 40  # px of a cell


def fill(folder: Path) -> Path:
    """A list of boxes: a rose in each of four images, which the last one shows in grey; the first is for training."""
    folder.mkdir(parents=True)
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "x0", "y0", "x1", "y1", "label", "split"))
        for i in range(4):
            image = Image.new("RGB", (3 * SIDE, 3 * SIDE))
            image.paste("gray" if i == 3 else "red", (0, 0, SIDE, SIDE))
            image.save(folder / f"{i}.png")
            writer.writerow((f"{i}.png", 0, 0, SIDE, SIDE, "rose", "test" if i else "train"))
    return folder / "boxes.csv"


def test_a_detector_is_measured_and_the_report_written(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    done = mobilenets("evaluate", cell_model, fill(tmp_path / "garden"), "--out", tmp_path / "out", "--split", "all")
    assert done.code == 0, done.err
    assert "4 images of" in done.err
    assert "mAP50" in done.out
    assert "3.png" in done.out  # its rose is missed
    assert str(tmp_path / "out" / "mistakes" / "01.jpg") in done.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"report.html", "report.md", "report.json", "predictions.csv"}
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["classes"][0]["recall"] == pytest.approx(3 / 4)


def test_a_run_remembers_its_boxes_and_its_test_split(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    source, run = fill(tmp_path / "garden"), tmp_path / "run"
    (run / "export").mkdir(parents=True)
    shutil.copy(cell_model, run / "export" / "model.onnx")
    (run / "run.json").write_text(json.dumps({"seed": 0, "data": {"source": str(source), "name": "garden"}}))
    write_splits(open_dataset(source), run / "splits.csv")
    done = mobilenets("evaluate", run, "--json")
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert (data["images"], data["classes"][0]["support"]) == (3, 3)
    assert (run / "report" / "report.html").is_file()


def test_data_of_another_task_is_refused(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "red").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "red" / "0.png")
    done = mobilenets("evaluate", cell_model, tmp_path / "photos")
    assert (done.code, "is not a detection dataset" in done.err) == (1, True), done.err


def bare(folder: Path) -> Path:
    """A list of boxes without a box: two images that show nothing."""
    folder.mkdir()
    for i in range(2):
        Image.new("RGB", (3 * SIDE, 3 * SIDE)).save(folder / f"{i}.png")
    (folder / "boxes.csv").write_text(
        "path,x0,y0,x1,y1,label,split\n0.png,,,,,,val\n1.png,,,,,,val\n2.png,0,0,9,9,rose,train\n"
    )
    Image.new("RGB", (3 * SIDE, 3 * SIDE), "red").save(folder / "2.png")
    return folder / "boxes.csv"


def test_images_without_objects_are_said_to_show_nothing(mobilenets: Run, cell_model: Path, tmp_path: Path) -> None:
    done = mobilenets("evaluate", cell_model, bare(tmp_path / "bare"), "--split", "val", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "These images have no objects" in done.out
    assert "UserWarning" not in done.err


def test_a_quantized_detector_is_not_judged_by_images_without_objects(cell_model: Path, tmp_path: Path) -> None:
    data, manifest = bare(tmp_path / "bare"), Predictor.open(cell_model).manifest
    with pytest.raises(DataError, match="the 2 images of 'boxes' to measure the int8 model on show no objects"):
        material(manifest, tmp_path, images="", data=str(data), reading=Reading(), count=4, seed=0, model=cell_model)

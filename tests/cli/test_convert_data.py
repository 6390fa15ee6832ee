"""`mobilenets convert-data` writes boxes anew; `mobilenets check` looks at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """A list of six boxes on three images of 400 x 300 px."""
    rows = ["path,x0,y0,x1,y1,label,split,crowd"]
    for i, split in enumerate(("train", "val", "test")):
        values = np.random.default_rng(i).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(values).resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / f"{i}.jpg")
        rows += [f"{i}.jpg,10,20,110,120,cat,{split},0", f"{i}.jpg,200,20,300,220,dog,{split},{int(i == 0)}"]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_list_becomes_a_yolo_folder(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    done = mobilenets("convert-data", boxes, tmp_path / "out", "--to", "yolo")
    assert done.code == 0
    assert done.out.endswith("images: train 1, val 1, test 1; 6 boxes of 2 classes\n")
    assert done.err == "1 crowd box is left out: YOLO has no crowds\n"
    assert (tmp_path / "out" / "labels" / "val" / "1.txt").read_text() == (
        "0 0.15 0.2333333333 0.25 0.3333333333\n1 0.625 0.4 0.25 0.6666666667\n"
    )


def test_json_names_what_was_written(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    done = mobilenets("convert-data", boxes, tmp_path / "out", "--to", "coco", "--link", "--json")
    data = json.loads(done.out)
    assert (data["boxes"], data["labels"], data["images"]) == (6, ["cat", "dog"], {"train": 1, "val": 1, "test": 1})
    assert (tmp_path / "out" / "train" / "0.jpg").is_symlink()


def test_bad_input_ends_in_words(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    assert (
        "unknown format of datasets 'voca'; did you mean 'voc'?"
        in mobilenets("convert-data", boxes, tmp_path / "o", "--to", "voca").err
    )
    assert "is not empty" in mobilenets("convert-data", boxes, tmp_path, "--to", "voc").err
    (tmp_path / "labels.csv").write_text("path,label\n0.jpg,cat\n1.jpg,dog\n")
    assert (
        "is not a detection dataset" in mobilenets("convert-data", tmp_path / "labels.csv", tmp_path / "o", "--to", "voc").err
    )


def test_check_shows_boxes_against_the_anchors_and_names_defects(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    assert mobilenets("check", boxes).code == 0
    with boxes.open("a") as file:
        file.write("0.jpg,10,20,10,120,cat,train,0\n0.jpg,390,20,410,120,cat,train,0\n0.jpg,0,0,9,9,cat,train,0\n")
    done = mobilenets("check", boxes, "--size", "256")
    assert done.code == 1
    assert "boxes: 3 images, 9 boxes, 2 classes" in done.out
    assert "on an input of 256 x 256" in done.out
    assert "error: boxes without area (1)\n  0.jpg: 'cat' at 10 20 10 120 has no area\n" in done.out
    assert "0.jpg: 'cat' at 390 20 410 120 reaches 10 px beyond the image, 400 x 300" in done.out
    assert "1 of 5 boxes of 'cat' are below 8 x 8 px" in done.out
    data = json.loads(mobilenets("check", boxes, "--json").out)
    assert (data["task"], sum(one["boxes"] for one in data["box_sizes"])) == ("detect", 7)


def test_check_writes_a_list_of_boxes(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    assert mobilenets("check", boxes, "--write", tmp_path / "clean.csv").code == 0
    assert (tmp_path / "clean.csv").read_text().startswith("path,x0,y0,x1,y1,label,difficult,crowd,group,picture\n")


def test_any_task_becomes_shards_and_boxes_alone_the_other_formats(boxes: Path, tmp_path: Path, mobilenets: Any) -> None:
    done = mobilenets("convert-data", boxes, tmp_path / "s", "--to", "shards", "--per-shard", "1")
    assert done.code == 0, done.err
    assert done.out.endswith("images: train 1, val 1, test 1; 6 boxes of 2 classes\n")
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "labels.txt",
        "test-000000.tar",
        "train-000000.tar",
        "val-000000.tar",
    ]
    back = mobilenets("convert-data", tmp_path / "s", tmp_path / "coco", "--to", "coco", "--json")
    assert json.loads(back.out)["boxes"] == 6
    (tmp_path / "labels.csv").write_text("path,label,split\n0.jpg,cat,train\n1.jpg,dog,train\n")
    labels = mobilenets("convert-data", tmp_path / "labels.csv", tmp_path / "l", "--to", "shards")
    assert labels.out.endswith("images: train 2, val 0, test 0; 2 classes\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "shards", "--link"), "--link does not apply to the format 'shards'"),
        (("--to", "yolo", "--per-shard", "5"), "--per-shard does not apply to the format 'yolo'"),
        (("--to", "voc", "--task", "segment"), "the format 'voc' holds boxes only"),
    ],
)
def test_options_that_a_format_has_no_use_for_are_refused(
    boxes: Path, tmp_path: Path, mobilenets: Any, options: tuple[str, ...], said: str
) -> None:
    done = mobilenets("convert-data", boxes, tmp_path / "out", *options)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "out").exists()

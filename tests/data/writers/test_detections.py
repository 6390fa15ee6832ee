from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.readers.yolo import read_yolo
from mobilenets.data.source import look_at
from mobilenets.data.writers.detections import RESULTS, ImageDetections, begin, csv_rows
from mobilenets.errors import DataError, UnknownNameError
from mobilenets.runtime.detect.decode import Detections, none

LABELS = ("cat", "dog")
TWO = Detections(
    LABELS,
    np.array([[10, 20, 30, 60], [0.5, 0.25, 100, 80]], np.float32),
    np.array([0.75, 0.5], np.float32),
    np.array([1, 0]),
)


def written(kind: str, folder: Path, *names: str) -> None:
    writing = begin(kind, folder, LABELS)
    for name in names:
        writing.add(
            ImageDetections(f"/in/{name}", PurePosixPath(name), 100, 80, TWO if "two" in name or "7" in name else none(LABELS))
        )
    writing.close()


def test_coco_counts_categories_from_one_and_gives_width_and_height(tmp_path: Path) -> None:
    written("coco", tmp_path, "two.jpg", "nothing.jpg", "000017.jpg")
    results = json.loads((tmp_path / "detections.json").read_text())
    assert [(one["image_id"], one["category_id"], one["bbox"], one["score"]) for one in results] == [
        ("two.jpg", 2, [10, 20, 20, 40], 0.75),
        ("two.jpg", 1, [0.5, 0.25, 99.5, 79.75], 0.5),
        (17, 2, [10, 20, 20, 40], 0.75),
        (17, 1, [0.5, 0.25, 99.5, 79.75], 0.5),
    ]


def test_csv_names_an_image_without_boxes_too(tmp_path: Path) -> None:
    written("csv", tmp_path, "two.jpg", "nothing.jpg")
    assert (tmp_path / "detections.csv").read_text().splitlines() == [
        "file,label,score,x0,y0,x1,y1",
        "/in/two.jpg,dog,0.750000,10.00,20.00,30.00,60.00",
        "/in/two.jpg,cat,0.500000,0.50,0.25,100.00,80.00",
        "/in/nothing.jpg,,,,,,",
    ]
    assert csv_rows("a", none(LABELS)) == [("a", "", "", "", "", "", "")]


def test_yolo_is_a_dataset_once_the_images_lie_beside_it(tmp_path: Path) -> None:
    written("yolo", tmp_path, "two.jpg", "in/nothing.jpg")
    assert (tmp_path / "labels" / "two.txt").read_text().splitlines()[0] == "1 0.2 0.5 0.2 0.5 0.75"
    (tmp_path / "images" / "in").mkdir(parents=True)
    for name in ("two.jpg", "in/nothing.jpg"):
        Image.new("RGB", (100, 80)).save(tmp_path / "images" / name)
    listing = read_yolo(look_at(tmp_path))
    boxes = {entry.path.name: entry.boxes for entry in listing.entries}
    assert [box.label for box in boxes["two.jpg"]] == ["dog", "cat"]
    corners = [[box.x0, box.y0, box.x1, box.y1] for box in boxes["two.jpg"]]
    np.testing.assert_allclose(corners, TWO.boxes, atol=1e-6)
    assert boxes["nothing.jpg"] == ()


@pytest.mark.parametrize("kind", list(RESULTS))
def test_a_second_run_replaces_the_first(tmp_path: Path, kind: str) -> None:
    written(kind, tmp_path, "two.jpg")
    first = {path: path.read_text() for path in tmp_path.rglob("*.*")}
    written(kind, tmp_path, "two.jpg")
    assert {path: path.read_text() for path in tmp_path.rglob("*.*")} == first


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        begin("coco", tmp_path / "file", LABELS)
    with pytest.raises(UnknownNameError, match="did you mean 'coco'"):
        begin("cocos", tmp_path, LABELS)

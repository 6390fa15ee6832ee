"""A dataset whose annotations show no object on any image says so, in every format of boxes and masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.readers.written import Layout, N, each, pairs_of, photos, text

from mobilenets.data.checks.check import check, quick_check
from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError

COCO = {"images": [{"id": i, "width": 8, "height": 6, "file_name": f"{i}.png"} for i in range(N)], "annotations": []}
LABELME = json.dumps({"shapes": [], "imagePath": "gone.png", "imageHeight": 6, "imageWidth": 8})
CVAT = "".join(f'<image id="{i}" name="{i}.png" width="8" height="6"/>' for i in range(N))
TASKS = [{"data": {"image": f"{i}.png"}, "annotations": [{"result": [], "lead_time": 1.5}]} for i in range(N)]


def beside(file: str, content: str) -> Layout:
    return lambda d: (photos(d, "*.png"), text(d / file, content))


def yolo(folder: Path) -> None:
    each(folder, "images/*.png", "labels/*.txt", "\n")
    text(folder / "data.yaml", "train: images\nnames: [car, bus]\n")


def darknet(folder: Path) -> None:
    each(folder, "data/*.png", "data/*.txt", "")
    text(folder / "obj.data", "train = train.txt\nnames = obj.names\n")
    text(folder / "obj.names", "car\n")
    text(folder / "train.txt", "".join(f"data/{i}.png\n" for i in range(N)))


VOC: Layout = lambda d: each(d, "JPEGImages/*.png", "Annotations/*.xml", "<annotation></annotation>")  # noqa: E731
LIST = "path,x0,y0,x1,y1,label\n" + "".join(f"{i}.png,,,,,\n" for i in range(N))
READ: dict[str, Layout] = {
    "yolo": yolo,
    "darknet": darknet,
    "voc": VOC,
    "coco": beside("instances_train.json", json.dumps({**COCO, "categories": [{"id": 1, "name": "cat"}]})),
    "coco without categories": beside("instances_train.json", json.dumps({**COCO, "categories": []})),
    "list": beside("boxes.csv", LIST),
}
REFUSED: dict[str, tuple[Layout, str]] = {
    "yolo": (yolo, "no polygon or box on its 3 images: all label files are empty"),
    "coco": (READ["coco"], "has no annotation of its 3 images"),
    "cvat": (
        beside("a.xml", f"<annotations><version>1.1</version><meta/>{CVAT}</annotations>"),
        "no polygon, ellipse or mask on its 3 images",
    ),
    "labelme": (lambda d: each(d, "*.png", "*.json", LABELME), "no polygon, ellipse or mask on its 3 images"),
    "run lengths": (
        beside("train.csv", "ImageId,EncodedPixels\n" + "".join(f"{i}.png,\n" for i in range(N))),
        "no mask of its 3 images: its column of run lengths is empty",
    ),
    "masks": (pairs_of("images/*.png", "masks/*.png", 0), "masks of a single class, 'class 0'"),
    "masks of 255": (
        lambda d: [pairs_of("images/*.png", "masks/*.png", 255)(d), *_whole(d)],
        "none of the 3 masks contains a class: all their pixels are ignored",
    ),
}


def _whole(folder: Path) -> list[Path]:
    """The masks, with every pixel 255."""
    from PIL import Image

    paths = sorted((folder / "masks").iterdir())
    for path in paths:
        Image.new("L", (8, 6), 255).save(path)
    return paths


@pytest.mark.parametrize("name", READ)
def test_a_check_says_that_no_image_has_a_box(name: str, tmp_path: Path) -> None:
    READ[name](tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    for findings in (check(dataset), quick_check(dataset)):
        messages = [item.message for item in findings.at("error") if item.code == "no-boxes"]
        assert messages == ["none of the 3 images has a box: every annotation is empty"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_dataset_to_segment_without_an_object_is_refused_with_a_way_out(name: str, tmp_path: Path) -> None:
    layout, message = REFUSED[name]
    layout(tmp_path / "data")
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path / "data", task="segment")
    assert "annotate the objects" in caught.value.hint or "--classes" in caught.value.hint


@pytest.mark.parametrize("name", ["cvat", "labelme"])
def test_what_may_hold_boxes_and_outlines_is_refused_for_boxes_too(name: str, tmp_path: Path) -> None:
    REFUSED[name][0](tmp_path / "data")
    with pytest.raises(DataError, match="no box, polygon or mask on its 3 images") as caught:
        open_dataset(tmp_path / "data")
    assert "annotate the objects" in caught.value.hint


def test_label_studio_without_a_result_names_both_ways_out(tmp_path: Path) -> None:
    beside("export.json", json.dumps(TASKS))(tmp_path / "data")
    with pytest.raises(DataError, match="no image for which one class was chosen, of 3") as caught:
        open_dataset(tmp_path / "data")
    assert "annotate the objects" in caught.value.hint


def test_boxes_of_classes_without_a_name_and_missing_files_are_the_reason_that_is_given(tmp_path: Path) -> None:
    yolo(tmp_path / "data")
    text(tmp_path / "data" / "labels" / "0.txt", "7 .5 .5 .2 .2\n")
    assert "classes that the dataset does not list" in quick_check(open_dataset(tmp_path / "data")).at("error")[0].message
    text(tmp_path / "data" / "labels" / "0.txt", "")
    (tmp_path / "data" / "labels" / "1.txt").unlink()
    (item,) = quick_check(open_dataset(tmp_path / "data")).at("error")
    assert item.message == "none of the 3 images has a box: 1 annotation file is missing, and the others are empty"

"""`open_dataset` of masks: which task a source is read for, and what can be asked of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.errors import DataError, UsageError


def image(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 4)).save(path)


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[0, 1, 2, 2, 1, 0]] * 4, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for i in range(10):
        image(tmp_path / f"images/{i}.jpg")
        mask(tmp_path / f"masks/{i}.png")
    return tmp_path


def test_folders_of_images_and_masks_are_split_like_others(folders: Path) -> None:
    dataset = open_dataset(folders, classes=["sky", "road", "car"])
    assert (dataset.task, dataset.labels) == ("segment", ("sky", "road", "car"))
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [6, 2, 2]
    assert all(sample.label == -1 and sample.mask is not None for sample in dataset.samples)


def test_the_fingerprint_follows_the_classes_and_not_the_place(folders: Path) -> None:
    first = fingerprint(open_dataset(folders, classes="sky,road,car"))
    assert first == fingerprint(open_dataset(folders, classes="sky,road,car"))
    assert first != fingerprint(open_dataset(folders, classes="sky,road,car", ignore=["car"]))
    moved = folders.rename(folders.with_name("elsewhere"))
    assert first == fingerprint(open_dataset(moved, classes="sky,road,car"))


def test_a_coco_file_has_boxes_or_masks_as_the_task_asks(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    one = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "area": 4}
    entry = {"id": 1, "file_name": "a.png", "width": 6, "height": 4}
    data = {"images": [entry], "categories": [{"id": 1, "name": "cat"}], "annotations": [one]}
    (tmp_path / "instances.json").write_text(json.dumps(data))
    assert open_dataset(tmp_path / "instances.json").task == "detect"
    segmented = open_dataset(tmp_path / "instances.json", task="segment")
    assert (segmented.task, segmented.labels) == ("segment", ("background", "cat"))


def test_a_voc_folder_with_both_says_that_there_are_masks(tmp_path: Path) -> None:
    for i in range(2):
        image(tmp_path / f"JPEGImages/{i}.jpg")
        mask(tmp_path / f"SegmentationClass/{i}.png")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
        (tmp_path / f"Annotations/{i}.xml").write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")
    boxes = open_dataset(tmp_path)
    assert boxes.task == "detect"
    assert any("the dataset also has masks" in note for note in boxes.notes)
    assert open_dataset(tmp_path, task="segment").task == "segment"


def test_options_of_masks_mean_nothing_elsewhere(tmp_path: Path) -> None:
    image(tmp_path / "cat/a.png")
    image(tmp_path / "dog/a.png")
    with pytest.raises(UsageError, match="--ignore does not apply to a dataset of the format 'folder'"):
        open_dataset(tmp_path, ignore=["cat"])
    with pytest.raises(DataError, match="is not a segmentation dataset"):
        open_dataset(tmp_path, task="segment")

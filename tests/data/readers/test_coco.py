from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilenets.data.boxes import NamedBox
from mobilenets.data.readers.coco import read_coco
from mobilenets.data.readers.coco_files import is_coco
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


def _coco(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": 40, "height": 30},
            {"id": 9, "file_name": "b.jpg", "width": 40, "height": 30},
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1.5, 2, 10, 20], "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 1, "bbox": [0, 0, 40, 30], "iscrowd": 1, "segmentation": {"counts": []}},
        ],
    }
    return {**data, **changes}


def _write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def _images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 30)).save(folder / name)


def test_boxes_are_edges_crowds_are_kept_and_labels_follow_the_ids(tmp_path: Path) -> None:
    _images(tmp_path, "a.jpg", "b.jpg")
    listing = read_coco(look_at(_write(tmp_path / "boxes.json", _coco())))
    assert listing.labels == ("cat", "dog")
    a, b = listing.entries
    assert a.boxes == (NamedBox("dog", 1.5, 2, 11.5, 22), NamedBox("cat", 0, 0, 40, 30, crowd=True))
    assert (b.boxes, a.stated, a.path, a.name, a.split) == ((), (40, 30), tmp_path / "a.jpg", "a.jpg", None)


def test_an_image_that_is_repeated_is_read_once(tmp_path: Path) -> None:
    twice = [{"id": 5, "file_name": "a.jpg", "width": 40, "height": 30}] * 2
    listing = read_coco(look_at(_write(tmp_path / "boxes.json", _coco(images=twice))))
    assert [len(entry.boxes) for entry in listing.entries] == [2]
    assert [fault.message for fault in listing.faults] == ["images[1] repeats images[0], 'a.jpg'; it is left out"]


def test_the_official_layout_gives_splits_and_folders(tmp_path: Path) -> None:
    for split, name in (("train2017", "a.jpg"), ("val2017", "c.jpg")):
        images = [{"id": 5, "file_name": name, "width": 40, "height": 30}]
        _write(tmp_path / "annotations" / f"instances_{split}.json", _coco(images=images))
        _write(tmp_path / "annotations" / f"captions_{split}.json", {"images": images})
        _images(tmp_path / split, name)
    assert is_coco(look_at(tmp_path))
    listing = read_coco(look_at(tmp_path))
    assert [(one.name, one.split) for one in listing.entries] == [("train2017/a.jpg", "train"), ("val2017/c.jpg", "val")]
    assert all(one.path.is_file() for one in listing.entries)


def test_roboflows_layout_and_its_empty_group_category_are_read(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "pets"}]
    one = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [0, 0, 4, 4]}
    for split in ("train", "valid"):
        _write(tmp_path / split / "_annotations.coco.json", _coco(categories=categories, annotations=[one]))
        _images(tmp_path / split, "a.jpg", "b.jpg")
    listing = read_coco(look_at(tmp_path))
    assert listing.labels == ("cat",)
    assert [one.split for one in listing.entries] == ["train", "train", "val", "val"]
    assert "'pets' only groups others" in listing.notes[0]


def test_strays_and_unknown_categories_are_left_out_and_named(tmp_path: Path) -> None:
    stray = {"id": 1, "image_id": 77, "category_id": 3, "bbox": [1, 2, 10, 20]}
    unknown = {"id": 2, "image_id": 9, "category_id": 4, "bbox": [1, 2, 10, 20]}
    listing = read_coco(look_at(_write(tmp_path / "boxes.json", _coco(annotations=[stray, unknown]))))
    assert [(fault.code, fault.file) for fault in listing.faults] == [("stray", "boxes.json"), ("unknown-class", "b.jpg")]
    assert all(not entry.boxes for entry in listing.entries)


def test_difficult_objects_survive(tmp_path: Path) -> None:
    marked = [
        {"id": i, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], key: 1}
        for i, key in enumerate(("difficult", "ignore"))
    ]
    listing = read_coco(look_at(_write(tmp_path / "boxes.json", _coco(annotations=marked))))
    assert [box.difficult for box in listing.entries[0].boxes] == [True, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is not a COCO file: it has no list 'images'"),
        ({"images": []}, "has no list 'annotations'"),
        (_coco(images=[]), "list no image"),
        (_coco(images=[3]), r"images\[0\] is not an object"),
        (_coco(images=[{"id": 5}]), r"images\[0\] has no id and file_name"),
        (
            _coco(images=[{"id": 5, "file_name": "a"}, {"id": 5, "file_name": "b"}]),
            "the image id 5 is used twice, for 'a' and 'b'",
        ),
        (_coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), r"categories\[1\] repeats the id 1"),
        (_coco(annotations=[{"image_id": 5, "category_id": 3}]), r"annotations\[0\] has the bbox None"),
        (
            _coco(annotations=[{"image_id": 5, "category_id": 3, "bbox": [1, 2, 3]}]),
            r"annotations\[0\] has the bbox \[1, 2, 3\]",
        ),
        (_coco(annotations=[{"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, "4"]}]), "not .x, y, width, height."),
        (_coco(annotations=[{"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": "no"}]), "has iscrowd 'no'"),
    ],
)
def test_a_bad_file_is_named_with_the_key(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_coco(look_at(_write(tmp_path / "boxes.json", data)))
    assert "boxes.json" in str(error.value)


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text('{"images": [}\n')
    with pytest.raises(DataError, match=r"boxes.json' is not valid JSON: .*line 1 column 13"):
        read_coco(look_at(path))

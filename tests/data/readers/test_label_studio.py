"""Label Studio's own export. What its brush painted was packed by label_studio_converter 0.0.59 (`brush.encode_rle`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.data.readers.written import photo

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError
from mobilenets.specs.model import Task

BOX = {"x": 12.5, "y": 50, "width": 50, "height": 50 / 3, "rotation": 0, "rectanglelabels": ["cat"]}
POLYGON = {"points": [[25, 0], [75, 0], [75, 50], [25, 50]], "closed": True, "polygonlabels": ["dog"]}
ELLIPSE = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 50 / 3, "rotation": 0, "ellipselabels": ["cat"]}
RUNS = [0, 0, 0, 192, 57, 27, 254, 79, 0, 183, 255, 132, 192, 39, 255, 200, 224, 0]
BRUSH = {"format": "rle", "brushlabels": ["cat"], "rle": RUNS}  # rows 2 and 3, columns 4 to 6, but for the last pixel


def result(value: Mapping[str, object], **more: object) -> dict[str, object]:
    return {"original_width": 8, "original_height": 6, "image_rotation": 0, "value": value, "type": "x", **more}


def task(*results: object, image: str = "/data/upload/1/0a1b2c3d-a.png", **more: object) -> dict[str, object]:
    annotation = {"result": results, "was_cancelled": False, "ground_truth": False, "lead_time": 3.2}
    return {"id": 1, "annotations": [annotation], "data": {"image": image}, **more}


def export(folder: Path, *tasks: object, image: str = "images/a.png") -> Path:
    photo(folder / image)
    (folder / "project-1.json").write_text(json.dumps(tasks))
    return folder


def opened(path: Path, task: Task | None = None) -> Dataset:
    return open_dataset(path, val=0, test=0, task=task)


def corners(dataset: Dataset) -> list[tuple[float, ...]]:
    return [box.corners for sample in dataset.samples for box in sample.boxes]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BOX, (1, 3, 5, 4)),
        ({**BOX, "rotation": 90}, (0, 3, 1, 7)),  # about its top left corner, clockwise
        (POLYGON, (2, 0, 6, 3)),
        (ELLIPSE, (2, 2, 6, 4)),
        ({**ELLIPSE, "rotation": 90}, (3, 1, 5, 5)),
        (BRUSH, (4, 2, 7, 4)),
    ],
)
def test_shapes_are_boxes_in_px(tmp_path: Path, value: Mapping[str, object], expected: tuple[float, ...]) -> None:
    dataset = opened(export(tmp_path, task(result(value))))
    assert dataset.task == "detect"
    assert corners(dataset) == [pytest.approx(expected)]


def test_polygons_and_brush_strokes_are_classes_of_pixels(tmp_path: Path) -> None:
    dataset = opened(export(tmp_path, task(result(POLYGON), result(BRUSH), result(BOX))), "segment")
    assert dataset.labels == ("background", "cat", "dog")
    assert "1 box, line or point has no outline and is left out" in dataset.notes
    mask = dataset.samples[0].mask
    assert mask is not None
    assert masks.read(mask).tolist() == [
        [0, 0, 2, 2, 2, 2, 0, 0],
        [0, 0, 2, 2, 2, 2, 0, 0],
        [0, 0, 2, 2, 1, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    "image",
    [
        "/data/local-files/?d=photos/images/a.png",
        "s3://bucket/images/a.png?X-Amz-Signature=1",
        "https://host/some%20where/a.png",
        "/data/upload/12/0a1b2c3d-a.png",
    ],
)
def test_the_image_is_found_by_its_address(tmp_path: Path, image: str) -> None:
    dataset = opened(export(tmp_path, task(result(BOX), image=image)))
    assert [sample.name for sample in dataset.samples] == ["images/a.png"]


def test_the_ground_truth_is_read_of_several_annotations_and_skipped_images_are_left_out(tmp_path: Path) -> None:
    several = task(result(BOX))
    truth = {"result": [result({**BOX, "rectanglelabels": ["dog"]})], "ground_truth": True}
    several["annotations"] = [{"result": [result(BOX)]}, truth]
    skipped = task(image="b.png")
    skipped["annotations"] = [{"result": [], "was_cancelled": True}]
    dataset = opened(export(tmp_path, several, skipped, task(image="c.png", annotations=[])))
    assert dataset.labels == ("dog",)
    assert dataset.notes[:2] == (
        "2 images were not annotated or skipped, and are left out",
        "1 image has several annotations; the ground truth or the first is read",
    )


def test_an_image_that_was_annotated_with_nothing_is_background(tmp_path: Path) -> None:
    photo(tmp_path / "b.png")
    dataset = opened(export(tmp_path, task(result(BOX)), task(image="b.png")))
    assert [(sample.name, len(sample.boxes)) for sample in dataset.samples] == [("images/a.png", 1), ("b.png", 0)]


def test_json_min_is_read_too(tmp_path: Path) -> None:
    size = {"original_width": 8, "original_height": 6}
    dataset = opened(export(tmp_path, {"image": "a.png", "id": 1, "label": [{**BOX, **size}], "annotator": 1}))
    assert corners(dataset) == [pytest.approx((1, 3, 5, 4))]


def test_the_size_that_is_not_stated_is_that_of_the_image(tmp_path: Path) -> None:
    dataset = opened(export(tmp_path, task({"type": "rectanglelabels", "value": BOX})))
    assert corners(dataset) == [pytest.approx((1, 3, 5, 4))]


def test_a_box_with_its_label_in_a_second_result_is_one_box(tmp_path: Path) -> None:
    bare = {key: value for key, value in BOX.items() if key != "rectanglelabels"}
    labeled = result({**bare, "labels": ["cat"]}, type="labels")
    dataset = opened(export(tmp_path, task(result(bare, type="rectangle"), labeled)))
    assert (dataset.labels, len(corners(dataset))) == (("cat",), 1)


@pytest.mark.parametrize(
    "record",
    [
        task({"type": "choices", "value": {"choices": ["cat"]}}),
        {"image": "/data/upload/1/0a1b2c3d-a.png", "id": 1, "choice": "cat", "created_at": "2024", "lead_time": 3},
    ],
)
def test_choices_are_classes_of_images(tmp_path: Path, record: object) -> None:
    photo(tmp_path / "b.png")
    both = task({"type": "choices", "value": {"choices": ["cat", "dog"]}}, image="b.png")
    dataset = opened(export(tmp_path, record, both, task(image="c.png")))
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("classify", ("cat",), 1)
    assert "1 image has no choice and is left out" in dataset.notes
    assert [fault.message[:30] for fault in dataset.faults] == ["has the choices 'cat', 'dog', "]


def test_choices_beside_boxes_are_read_if_the_task_says_so(tmp_path: Path) -> None:
    export(tmp_path, task(result(BOX), {"type": "choices", "value": {"choices": ["indoors"]}}))
    assert opened(tmp_path).labels == ("cat",)
    assert opened(tmp_path, "classify").labels == ("indoors",)
    assert opened(tmp_path / "project-1.json").labels == ("cat",)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (["lead_time", {"lead_time": 1}], "project-1.json': task 1 is not an object"),
        (task(result({**BOX, "x": "left"})), "task 1, result 1 has x 'left', not a number"),
        (task(result({**POLYGON, "points": [[1, 2], [3]]})), "result 1 has points that are not a list of x and y"),
        (task(result({**BRUSH, "rle": RUNS[:12]})), "result 1 is a brush stroke, but its run lengths are damaged"),
        (task(result({**BRUSH, "rle": [300]})), "result 1 is a brush stroke, but its run lengths are not bytes"),
        (task(result(BRUSH, original_width=9)), "its run lengths are not of an image of 9 x 6"),
        (task(result(BOX, image_rotation=90)), "is on an image that was rotated in Label Studio"),
        (task(result(BOX), image=""), "task 1 names no image"),
        ({**task(), "annotations": [4], "lead_time": 1}, "task 1 has annotations that are not a list of objects"),
        (task(result({**BOX, "rectanglelabels": [" "]})), "result 1 has an empty class name"),
        (
            task({"type": "choices", "value": {"choices": ["a"]}}, result({"x": 1, "y": 1})),
            "has tags of whole images, but no box",
        ),
    ],
)
def test_damaged_files_are_refused_by_the_place_in_them(tmp_path: Path, broken: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(export(tmp_path, broken))

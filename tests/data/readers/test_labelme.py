from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.readers.written import photo

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError
from mobilenets.specs.model import Task

RECTANGLE = {"label": "cat", "points": [[5, 4], [1, 1]], "shape_type": "rectangle"}
SQUARE = {"label": "cat", "points": [[1, 1], [5, 1], [5, 4], [1, 4]], "shape_type": "polygon"}


def annotated(folder: Path, *shapes: object, image: str = "a.png", file: str = "a.json", **more: object) -> Path:
    """An image of 8 x 6 px with a file of labelme's."""
    photo(folder / image)
    written = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(image).name,
        "imageWidth": 8,
        "imageHeight": 6,
    }
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps({**written, "imageWidth": 8, "imageHeight": 6, **more}))
    return folder


def opened(folder: Path, *, task: Task | None = None) -> Dataset:
    return open_dataset(folder, val=0, test=0, task=task)


def boxes(dataset: Dataset) -> list[tuple[str, tuple[float, ...]]]:
    return [(dataset.labels[box.label], box.corners) for sample in dataset.samples for box in sample.boxes]


def pixels(within: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> str:
    file = io.BytesIO()
    Image.fromarray(within).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


MASK = {
    "label": "dog",
    "points": [[4, 2], [6, 3]],  # the last pixel included
    "shape_type": "mask",
    "mask": pixels(np.array([[0, 1, 1], [0, 0, 1]], np.uint8)),
}


def test_a_rectangle_is_a_box_whichever_corners_were_drawn(tmp_path: Path) -> None:
    dataset = opened(annotated(tmp_path, RECTANGLE))
    assert (dataset.task, boxes(dataset), dataset.samples[0].stated) == ("detect", [("cat", (1, 1, 5, 4))], (8, 6))


@pytest.mark.parametrize(
    ("shape", "corners"),
    [
        (SQUARE, (1, 1, 5, 4)),
        (MASK, (4, 2, 7, 4)),
        ({"label": "cat", "points": [[4, 3], [4, 1]], "shape_type": "circle"}, (2, 1, 6, 5)),
        ({"label": 7, "points": [[1, 1], [3, 2]], "shape_type": "line"}, (1, 1, 3, 2)),
    ],
)
def test_other_shapes_are_the_boxes_around_them(tmp_path: Path, shape: object, corners: tuple[float, ...]) -> None:
    [(_, found)] = boxes(opened(annotated(tmp_path, shape)))
    assert found == pytest.approx(corners)


def test_shapes_of_one_class_and_group_are_one_object(tmp_path: Path) -> None:
    parts = [{**RECTANGLE, "group_id": 1}, {**RECTANGLE, "points": [[6, 5], [8, 6]], "group_id": 1}]
    other = {**RECTANGLE, "label": "dog", "group_id": 1}
    assert boxes(opened(annotated(tmp_path, *parts, other))) == [("cat", (1, 1, 8, 6)), ("dog", (1, 1, 5, 4))]


def test_polygons_and_masks_are_classes_of_pixels_and_ignored_ones_are_255(tmp_path: Path) -> None:
    ignored = {**SQUARE, "label": "__ignore__", "points": [[0, 0], [2, 0], [2, 1], [0, 1]]}
    dataset = opened(annotated(tmp_path, SQUARE, MASK, ignored, {**RECTANGLE, "shape_type": "point"}), task="segment")
    assert dataset.labels == ("background", "cat", "dog")
    mask = dataset.samples[0].mask
    assert mask is not None
    assert masks.read(mask).tolist() == [
        [255, 255, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 2, 2, 0],
        [0, 1, 1, 1, 1, 0, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("written", ["..\\images\\a.png", "C:\\Users\\me\\images\\a.png", "old name.png"])
def test_the_image_is_found_where_it_lies_now(tmp_path: Path, written: str) -> None:
    annotated(tmp_path, RECTANGLE, image="images/a.png", file="json/a.json", imagePath=written)
    assert [sample.name for sample in opened(tmp_path).samples] == ["images/a.png"]


def test_folders_are_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        annotated(tmp_path / split, RECTANGLE, image=f"{split}.png", file=f"{split}.json")
    assert {sample.name: sample.split for sample in open_dataset(tmp_path).samples} == {
        "train/train.png": "train",
        "val/val.png": "val",
    }


def test_a_second_file_of_an_image_and_other_json_are_named(tmp_path: Path) -> None:
    annotated(annotated(tmp_path, RECTANGLE), RECTANGLE, file="copy.json")
    (tmp_path / "info.json").write_text("{}")
    dataset = opened(tmp_path)
    assert [fault.message for fault in dataset.faults] == ["is of 'a.png', as 'a.json' is; it is left out"]
    assert "1 JSON file without shapes of labelme is left out" in dataset.notes


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("cat", "a.json', shape 1 is not an object"),
        ({**SQUARE, "label": None}, "shape 1 has the label None, not a name"),
        ({**SQUARE, "points": [[1, 1], [2, "x"], [3, 3]]}, "shape 1 has points that are not a list of x and y"),
        ({**SQUARE, "points": None}, "shape 1 has points that are not a list of x and y"),
        ({**MASK, "mask": "iVBOR"}, "shape 1 has a mask that is not an image in base64"),
        ({**MASK, "mask": None}, "shape 1 is a mask without two points and an image in base64"),
        ({**SQUARE, "points": [[1, 1], [2, 2]]}, "has no box, polygon or mask"),
    ],
)
def test_damaged_shapes_are_refused_by_name(tmp_path: Path, shape: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(annotated(tmp_path, shape))


@pytest.mark.parametrize("width", [8, None])
def test_a_mask_that_leaves_its_image_is_left_out_and_named(tmp_path: Path, width: int | None) -> None:
    outside = {**MASK, "points": [[7, 2], [9, 3]]}
    dataset = opened(annotated(tmp_path, SQUARE, outside, imageWidth=width), task="segment")
    [fault] = dataset.faults
    assert fault.message.startswith("shape 2 of 'a.png' does not fit its image of")

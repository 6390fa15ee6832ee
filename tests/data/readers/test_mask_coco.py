from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.masks import IGNORE
from mobilenets.data.readers.format import Asked
from mobilenets.data.readers.mask_coco import read_coco_masks
from mobilenets.data.source import look_at
from mobilenets.errors import DataError

SQUARE = [1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def annotation(category: int, segmentation: Any, *, image: int = 1, area: float = 4, crowd: int = 0) -> dict[str, Any]:
    values = {"image_id": image, "category_id": category, "segmentation": segmentation, "area": area, "iscrowd": crowd}
    return {"id": 0, "bbox": [0, 0, 1, 1], **values}


def wrote(
    folder: Path, *annotations: Mapping[str, Any], categories: Any = CATEGORIES, size: tuple[int, int] | None = (6, 4)
) -> Path:
    Image.new("RGB", (6, 4)).save(folder / "a.png")
    image: dict[str, Any] = {"id": 1, "file_name": "a.png"}
    if size is not None:
        image |= {"width": size[0], "height": size[1]}
    data = {"images": [image], "categories": categories, "annotations": list(annotations)}
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    return path


def classes(path: Path, **options: Any) -> list[list[int]]:
    mask = read_coco_masks(look_at(path), Asked(**options)).entries[0].mask
    assert mask is not None
    found: list[list[int]] = masks.read(mask).tolist()
    return found


def test_polygons_are_painted_over_background(tmp_path: Path) -> None:
    path = wrote(tmp_path, annotation(7, [SQUARE]))
    found = read_coco_masks(look_at(path))
    assert (found.task, found.labels) == ("segment", ("background", "cat", "dog"))
    assert classes(path) == [[0] * 6, [0, 2, 2, 0, 0, 0], [0, 2, 2, 0, 0, 0], [0] * 6]


def test_the_smaller_object_lies_above_and_a_crowd_below(tmp_path: Path) -> None:
    whole = {"size": [4, 6], "counts": [0, 24]}
    path = wrote(
        tmp_path, annotation(3, [SQUARE], area=4), annotation(7, whole, area=24), annotation(3, whole, area=1, crowd=1)
    )
    assert classes(path)[0] == [2] * 6
    assert classes(path)[1] == [2, 1, 1, 2, 2, 2]


def test_compressed_run_lengths_are_read(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    pixels = np.random.default_rng(0).random((4, 6)) < 0.5
    counts = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    assert classes(wrote(tmp_path, annotation(3, {"size": [4, 6], "counts": counts}))) == pixels.astype(int).tolist()


def test_an_ignored_category_counts_nowhere(tmp_path: Path) -> None:
    path = wrote(tmp_path, annotation(7, [SQUARE]))
    assert classes(path, ignore=("dog",))[1] == [0, IGNORE, IGNORE, 0, 0, 0]
    assert read_coco_masks(look_at(path), Asked(ignore=("dog",))).labels == ("background", "cat")
    with pytest.raises(DataError, match="has no category 'cow' to ignore"):
        read_coco_masks(look_at(path), Asked(ignore=("cow",)))


def test_a_background_of_its_own_is_not_doubled(tmp_path: Path) -> None:
    path = wrote(tmp_path, annotation(3, [SQUARE]), categories=[{"id": 3, "name": "cat"}, {"id": 9, "name": "Background"}])
    assert read_coco_masks(look_at(path)).labels == ("Background", "cat")
    assert classes(path)[1] == [0, 1, 1, 0, 0, 0]


def test_the_size_comes_from_the_image_where_the_file_says_none(tmp_path: Path) -> None:
    assert len(classes(wrote(tmp_path, annotation(3, [SQUARE]), size=None))) == 4


def test_annotations_without_polygons_are_counted(tmp_path: Path) -> None:
    found = read_coco_masks(look_at(wrote(tmp_path, annotation(3, [SQUARE]), annotation(3, []))))
    assert any("1 of 2 annotations" in note for note in found.notes)
    with pytest.raises(DataError, match="has no annotation with polygons or run lengths"):
        read_coco_masks(look_at(wrote(tmp_path, annotation(3, []))))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4, 5]], "not a list of x and y"),
        ([["a", 2, 3, 4, 5, 6]], "not a list of x and y"),
        ({"size": [4, 6]}, "without counts"),
        ({"size": [4, 6], "counts": [-1, 25]}, "damaged run lengths"),
    ],
)
def test_damaged_polygons_and_run_lengths_are_named(tmp_path: Path, segmentation: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"annotations\[0\].*{message}"):
        read_coco_masks(look_at(wrote(tmp_path, annotation(3, segmentation))))

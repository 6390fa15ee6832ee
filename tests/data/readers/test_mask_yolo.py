from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.readers.written import LINE, N, each, photo, text

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError

# the left half of 8 x 6 px, and on it a square of 2 x 2 px, written first
OUTLINES = "1 .125 .1667 .375 .1667 .375 .5 .125 .5\n0 0 0 .5 0 .5 1 0 1\n"


def polygons(d: Path, lines: str = OUTLINES) -> Path:
    each(d, "images/*.png", "labels/*.txt", lines)
    text(d / "classes.txt", "road\ncar\n")
    return d


def test_polygons_are_masks_and_the_smaller_is_on_top(tmp_path: Path) -> None:
    dataset = open_dataset(polygons(tmp_path), task="segment")
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("segment", ("background", "road", "car"), N)
    expected = np.zeros((6, 8), int)
    expected[:, :4] = 1
    expected[1:3, 1:3] = 2
    mask = dataset.samples[0].mask
    assert mask is not None
    assert mask.read().tolist() == expected.tolist()


def test_a_class_may_be_ignored(tmp_path: Path) -> None:
    dataset = open_dataset(polygons(tmp_path), task="segment", ignore=("car",))
    mask = dataset.samples[0].mask
    assert mask is not None
    assert dataset.labels == ("background", "road")
    assert sorted(np.unique(mask.read())) == [0, 1, 255]


def test_without_a_task_polygons_are_boxes_and_a_note_says_so(tmp_path: Path) -> None:
    dataset = open_dataset(polygons(tmp_path))
    assert (dataset.task, len(dataset.samples[0].boxes)) == ("detect", 2)
    assert f"{N} label files have polygons, read as the boxes around them; --task segment reads them as masks" in dataset.notes


def test_boxes_among_polygons_are_left_out_and_counted(tmp_path: Path) -> None:
    dataset = open_dataset(polygons(tmp_path, OUTLINES + LINE), task="segment")
    assert f"{N} of {3 * N} objects have no polygon and are left out" in dataset.notes


def test_an_image_without_labels_is_background(tmp_path: Path) -> None:
    photo(polygons(tmp_path) / "images/9.png")
    bare = next(sample for sample in open_dataset(tmp_path, task="segment").samples if sample.name == "images/9.png")
    assert bare.mask is not None
    assert bare.mask.read().tolist() == np.zeros((6, 8), int).tolist()


def test_boxes_alone_are_not_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has YOLO's boxes, but no polygons"):
        open_dataset(polygons(tmp_path, LINE), task="segment")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.readers.written import photo

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError

IDS = [0, 7, 8, 33, 34 - 1, 26, 1, 255]  # unlabeled, road, sidewalk, bicycle, bicycle, car, ego vehicle, license plate
TRAIN_IDS = [255, 0, 1, 18, 18, 13, 255, 255]


def add(folder: Path, split: str, city: str, *kinds: str) -> None:
    photo(folder / f"leftImg8bit/{split}/{city}/{city}_0_leftImg8bit.png")
    for kind in kinds:
        path = folder / f"gtFine/{split}/{city}/{city}_0_gtFine_{kind}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = TRAIN_IDS if kind == "labelTrainIds" else IDS
        Image.fromarray(np.array([values] * 6, np.uint8)).save(path)


@pytest.mark.parametrize("kinds", [("labelIds", "instanceIds", "color"), ("labelTrainIds", "labelIds"), ("labelTrainIds",)])
def test_its_masks_are_the_classes_of_the_benchmark(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    add(tmp_path, "train", "aachen", *kinds)
    add(tmp_path, "val", "lindau", *kinds)
    dataset = open_dataset(tmp_path)
    assert (dataset.task, len(dataset.labels), dataset.labels[13], dataset.colors[13]) == ("segment", 19, "car", (0, 0, 142))
    assert [(sample.name.split("/")[1], sample.split) for sample in dataset.samples] == [("train", "train"), ("val", "val")]
    mask = dataset.samples[0].mask
    assert mask is not None
    assert masks.read(mask)[0].tolist() == TRAIN_IDS


def test_test_is_left_out_and_photos_without_masks_are_named(tmp_path: Path) -> None:
    add(tmp_path, "train", "aachen", "labelIds")
    add(tmp_path, "train", "bochum")
    add(tmp_path, "val", "lindau", "labelIds")
    add(tmp_path, "test", "berlin", "labelIds")
    dataset = open_dataset(tmp_path)
    assert len(dataset.samples) == 2
    assert "1 photo of test, whose mask is withheld, is left out" in dataset.notes
    assert [(fault.code, fault.file) for fault in dataset.faults] == [
        ("unannotated", "leftImg8bit/train/bochum/bochum_0_leftImg8bit.png")
    ]


def test_polygons_alone_are_refused_with_the_script_that_draws_them(tmp_path: Path) -> None:
    add(tmp_path, "train", "aachen", "color")
    with pytest.raises(DataError, match=r"no photo in '.*' has a mask") as caught:
        open_dataset(tmp_path)
    assert "csCreateTrainIdLabelImgs" in caught.value.hint

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError

WIDTH, HEIGHT = 8, 6
DOWN = "15 3 21 3 27 3"  # columns 2 to 4 of rows 2 to 4, counted down the columns from 1
ALONG = "19 3 27 3 35 3"  # the same, counted along the rows


def images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return folder


def listed(folder: Path, text: str, *names: str) -> Dataset:
    images(folder / "train_images", *(names or ("a.png", "b.png")))
    (folder / "train.csv").write_text(text)
    return open_dataset(folder, val=0, test=0)


def pixels(dataset: Dataset, i: int = 0) -> NDArray[np.uint8]:
    mask = dataset.samples[i].mask
    assert mask is not None
    return masks.read(mask)


def square() -> NDArray[np.uint8]:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:5, 2:5] = 1
    return expected


@pytest.mark.parametrize(("runs", "way"), [(DOWN, "down the columns"), (ALONG, "along the rows")])
def test_the_way_of_counting_is_the_one_in_which_objects_hold_together(tmp_path: Path, runs: str, way: str) -> None:
    dataset = listed(tmp_path, f"ImageId,EncodedPixels\na.png,{runs}\nb.png,\n")
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("segment", ("background", "object"), 2)
    assert pixels(dataset).tolist() == square().tolist()
    assert not pixels(dataset, 1).any()
    assert dataset.notes[0] == f"run lengths of 'train.csv' were read {way}, because objects hold together that way"


@pytest.mark.parametrize(
    "text",
    [
        f"ImageId,ClassId,EncodedPixels\na.png,3,{DOWN}\na.png,12,1 2\n",
        f"ImageId_ClassId,EncodedPixels\na.png_3,{DOWN}\na.png_12,1 2\na.png_4,\n",
        f"Image_Label,EncodedPixels\na.png_3,{DOWN}\na.png_12,1 2\n",
        f"id,class,segmentation\na,3,{DOWN}\na,12,1 2\n",
    ],
)
def test_classes_are_a_column_or_the_end_of_the_name(tmp_path: Path, text: str) -> None:
    dataset = listed(tmp_path, text)
    assert dataset.labels == ("background", "3", "12")
    assert (np.unique(pixels(dataset), return_counts=True)[1] == [37, 9, 2]).all()


def test_the_list_itself_is_a_dataset_and_files_of_masks_come_first(tmp_path: Path) -> None:
    listed(tmp_path, f"img,rle_mask\na,{DOWN}\nb,-1\n")
    assert len(open_dataset(tmp_path / "train.csv", val=0, test=0).samples) == 2
    for name in ("a.png", "b.png"):
        images(tmp_path / "images", name)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(square()).save(tmp_path / "masks" / name)
    assert open_dataset(tmp_path, val=0, test=0).labels == ("class 0", "class 1")


def test_long_masks_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (400, 400)).save(images(tmp_path / "x") / "a.png")
    runs = " ".join(f"{start} 1" for start in range(1, 160_000, 3))
    (tmp_path / "x.csv").write_text(f"ImageId,EncodedPixels\nx/a.png,{runs}\n")
    assert len(runs) > 200_000
    assert int(pixels(open_dataset(tmp_path / "x.csv", val=0, test=0)).sum()) == 53_333


def test_runs_beyond_the_image_are_left_out_and_named(tmp_path: Path) -> None:
    dataset = listed(tmp_path, f"ImageId,EncodedPixels\na.png,{DOWN}\na.png,40 30\n")
    [fault] = dataset.faults
    assert fault.message == "has runs of line 3 beyond its 8 x 6 pixels; they are left out"
    assert pixels(dataset).tolist() == square().tolist()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,1 2 3", "line 2 has runs that are not pairs of a start and a length: '1 2 3'"),
        ("a.png,1 x", "line 2 has runs that are not pairs"),
        ("a.png,0 4", "line 2 has a run that starts at 0; the first pixel is 1"),
        (",1 2", "line 2 has no path"),
        ("c.png,1 2", "says no width and height of 'c.png'"),
        ("a.png,", "train.csv' has no mask"),
    ],
)
def test_damaged_rows_are_refused_by_line(tmp_path: Path, row: str, message: str) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text(f"ImageId,EncodedPixels\n{row}\n")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "train.csv")

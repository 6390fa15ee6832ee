from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.readers.format import Asked
from mobilenets.data.readers.mask_folders import is_masked, read_masked
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


def wrote(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[0, 1]], np.uint8)).save(path)


LAYOUTS = {
    "split folders above": ("train/images/a.jpg", "train/masks/a.png", "val/images/b.jpg", "val/masks/b.png"),
    "split folders below": ("images/train/a.jpg", "masks/train/a.png", "images/val/b.jpg", "masks/val/b.png"),
    "folders beside": ("train/a.jpg", "trainannot/a.png", "val/b.jpg", "valannot/b.png"),
    "labels beside": ("train/a.jpg", "train_labels/a_L.png", "val/b.jpg", "val_labels/b_L.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_are_those_of_the_folders(tmp_path: Path, layout: str) -> None:
    wrote(tmp_path, *LAYOUTS[layout])
    assert is_masked(look_at(tmp_path))
    found = read_masked(look_at(tmp_path))
    assert sorted((entry.split, entry.path.stem) for entry in found.entries) == [("train", "a"), ("val", "b")]
    assert (found.task, found.labels) == ("segment", ("class 0", "class 1"))


def test_without_split_folders_the_splits_are_open(tmp_path: Path) -> None:
    wrote(tmp_path, "images/a.jpg", "images/deep/b.jpg", "masks/a_mask.png", "masks/deep/b.png")
    found = read_masked(look_at(tmp_path))
    assert [(entry.name, entry.split) for entry in found.entries] == [("images/a.jpg", None), ("images/deep/b.jpg", None)]
    assert found.entries[1].mask is not None
    assert masks.read(found.entries[1].mask).tolist() == [[0, 1]]


def test_what_has_no_partner_is_left_out_and_named(tmp_path: Path) -> None:
    wrote(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png")
    found = read_masked(look_at(tmp_path))
    assert [entry.name for entry in found.entries] == ["images/a.jpg"]
    assert [(fault.code, fault.file) for fault in found.faults] == [("unannotated", "images/b.jpg"), ("stray", "masks/c.png")]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    wrote(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    with pytest.raises(DataError, match="have the same name apart from the extension"):
        read_masked(look_at(tmp_path))


def test_no_partner_at_all_says_what_was_expected(tmp_path: Path) -> None:
    wrote(tmp_path, "images/a.jpg", "masks/b.png")
    with pytest.raises(DataError, match="no image in") as caught:
        read_masked(look_at(tmp_path))
    assert "images/ and masks/" in caught.value.hint


def test_class_folders_and_boxes_are_no_masks(tmp_path: Path) -> None:
    wrote(tmp_path, "classes/cat/a.jpg", "classes/dog/a.jpg", "boxes/images/a.jpg")
    (tmp_path / "boxes" / "labels").mkdir()
    (tmp_path / "boxes" / "labels" / "a.txt").write_text("0 0.5 0.5 1 1\n")
    assert not is_masked(look_at(tmp_path / "classes"))
    assert not is_masked(look_at(tmp_path / "boxes"))
    assert not is_masked(look_at(tmp_path / "none"))


def test_jpeg_masks_with_little_noise_are_black_and_white(tmp_path: Path) -> None:
    wrote(tmp_path, "images/a.jpg")
    values = np.zeros((80, 96), np.uint8)
    values[10:30] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks/a.jpg", quality=85)
    stored = np.asarray(Image.open(tmp_path / "masks/a.jpg"))
    assert 2 < len(np.unique(stored)) < 8  # a few values beside 0 and 255
    mask = read_masked(look_at(tmp_path)).entries[0].mask
    assert mask is not None
    assert (masks.read(mask) == (values > 0)).all()


def test_ade20k_has_the_names_of_its_file_and_ignores_0(tmp_path: Path) -> None:
    wrote(
        tmp_path,
        "images/training/a.jpg",
        "annotations/training/a.png",
        "images/validation/b.jpg",
        "annotations/validation/b.png",
    )
    rows = "1\t0.16\t11664\t1172\t1\twall\n2\t0.1\t6046\t612\t1\tscreen, silver screen\n3\t0.1\t1\t1\t1\tscreen, CRT\n"
    (tmp_path / "objectInfo150.txt").write_text(f"Idx\tRatio\tTrain\tVal\tStuff\tName\n{rows}")
    found = read_masked(look_at(tmp_path))
    assert found.labels == ("wall", "screen, silver screen", "screen, CRT")
    mask = found.entries[0].mask
    assert mask is not None
    assert masks.read(mask).tolist() == [[255, 0]]
    assert [entry.split for entry in found.entries] == ["train", "val"]


def test_the_full_ade20k_is_named(tmp_path: Path) -> None:
    wrote(tmp_path, *(f"street/ADE_train_1{end}" for end in (".jpg", "_seg.png", "_parts_1.png")))
    with pytest.raises(DataError, match="full ADE20K") as caught:
        read_masked(look_at(tmp_path))
    assert "ADEChallengeData2016" in caught.value.hint


def test_camvid_has_its_eleven_classes(shared: Path) -> None:
    names = "Sky,Building,Pole,Road,Pavement,Tree,SignSymbol,Fence,Car,Pedestrian,Bicyclist"
    found = read_masked(look_at(shared / "data" / "camvid"), Asked(classes=names, ignore=("11",)))
    assert found.labels == tuple(names.split(","))
    splits = [entry.split for entry in found.entries]
    assert [splits.count(split) for split in ("train", "val", "test")] == [367, 101, 233]
    mask = found.entries[0].mask
    assert mask is not None
    assert mask.read().shape == (360, 480)
    assert set(np.unique(mask.read())) <= {*range(11), 255}

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.readers.mask_voc import is_voc_masks, read_voc_masks
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three images as VOC lays them out: two with masks, in train and val, and one without."""
    folder = tmp_path / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for i, stem in enumerate("abc"):
        Image.new("RGB", (3, 1), (i, i, i)).save(folder / "JPEGImages" / f"{stem}.jpg")
    for stem in "ab":
        image = Image.fromarray(np.array([[0, 15, 255]], np.uint8))
        image.putpalette([0, 0, 0, *[i % 256 for i in range(3, 768)]])
        image.save(folder / "SegmentationClass" / f"{stem}.png")
    (folder / "ImageSets/Segmentation/train.txt").write_text("a\nc\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("b\n")
    (folder / "ImageSets/Segmentation/trainval.txt").write_text("a\nb\nc\n")
    return folder


def test_splits_and_masks_are_vocs(voc: Path) -> None:
    assert is_voc_masks(look_at(voc))
    found = read_voc_masks(look_at(voc))
    assert [(entry.name, entry.split) for entry in found.entries] == [
        ("JPEGImages/a.jpg", "train"),
        ("JPEGImages/b.jpg", "val"),
    ]
    mask = found.entries[0].mask
    assert mask is not None
    assert masks.read(mask).tolist() == [[0, 15, 255]]
    assert [(fault.code, fault.file) for fault in found.faults] == [("unannotated", "JPEGImages/c.jpg")]


def test_the_challenges_classes_are_known(voc: Path) -> None:
    found = read_voc_masks(look_at(voc))
    assert len(found.labels) == 21
    assert found.labels[15] == "person"
    assert any("21" in note for note in found.notes)


def test_a_file_of_names_goes_before_them(voc: Path) -> None:
    (voc / "labelmap.txt").write_text("background:0,0,0::\n" + "".join(f"thing {i}:{i},9,9::\n" for i in range(1, 16)))
    found = read_voc_masks(look_at(voc))
    assert found.labels[15] == "thing 15"
    assert len(found.labels) == 16


def test_without_split_files_every_mask_counts(voc: Path) -> None:
    for path in (voc / "ImageSets/Segmentation").glob("*.txt"):
        path.unlink()
    assert [entry.split for entry in read_voc_masks(look_at(voc)).entries] == [None, None]


def test_no_mask_at_all_is_refused(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/train.txt").write_text("x\n")
    (voc / "ImageSets/Segmentation/trainval.txt").unlink()
    (voc / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(DataError, match="has a mask with its name"):
        read_voc_masks(look_at(voc))

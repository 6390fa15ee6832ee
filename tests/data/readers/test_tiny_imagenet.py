from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.readers.written import photo, text

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError


def tiny_imagenet(folder: Path, annotations: str) -> Path:
    for label in ("n01443537", "n01629819"):
        photo(folder / f"train/{label}/images/{label}_0.JPEG")
        text(folder / f"train/{label}/{label}_boxes.txt", f"{label}_0.JPEG\t0\t0\t62\t62\n")
    for i in range(2):
        photo(folder / f"val/images/val_{i}.JPEG")
    photo(folder / "test/images/test_0.JPEG")
    text(folder / "wnids.txt", "n01443537\nn01629819\n")
    text(folder / "val/val_annotations.txt", annotations)
    return folder


def test_val_has_the_classes_of_its_list(tmp_path: Path) -> None:
    rows = (
        "val_0.JPEG\tn01629819\t0\t32\t44\t62\r\nval_1.JPEG\tn01443537\t52\t55\t57\t59\r\nval_2.JPEG\tn01443537\t1\t2\t3\t4\r\n"
    )
    dataset = open_dataset(tiny_imagenet(tmp_path, rows), test=0)
    assert dataset.labels == ("n01443537", "n01629819")
    assert {sample.name: (sample.label, sample.split) for sample in dataset.samples} == {
        "train/n01443537/images/n01443537_0.JPEG": (0, "train"),
        "train/n01629819/images/n01629819_0.JPEG": (1, "train"),
        "val/images/val_0.JPEG": (1, "val"),
        "val/images/val_1.JPEG": (0, "val"),
    }
    assert [fault.message for fault in dataset.faults] == ["names 'val_2.JPEG', which is not in val/images, on line 3"]
    assert any("test/images/test_0.JPEG" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("row", "message"), [("val_0.JPEG", "line 1 has no class"), ("val_0.JPEG\t ", "line 1 has an empty class")]
)
def test_a_damaged_line_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(tiny_imagenet(tmp_path, row + "\n"))

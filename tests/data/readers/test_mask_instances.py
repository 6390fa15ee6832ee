from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.mask_instances import is_instances, read_instances
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


def wrote(path: Path, *rows: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows or [[0, 0, 0]] * 2, np.uint8)).save(path)


def nuclei(root: Path, *, apart: bool = True) -> None:
    """Two images of 3 x 2 px with two objects each."""
    for name in ("a", "b"):
        wrote(root / (f"{name}/images/{name}.png" if apart else f"images/{name}.png"))
        folder = root / (f"{name}/masks" if apart else f"masks/{name}")
        wrote(folder / "1.png", [255, 0, 0], [255, 0, 0])
        wrote(folder / "2.png", [0, 0, 0], [0, 0, 255])


@pytest.mark.parametrize("apart", [True, False])
def test_the_objects_of_an_image_are_one_mask(tmp_path: Path, apart: bool) -> None:
    nuclei(tmp_path, apart=apart)
    dataset = open_dataset(tmp_path, val=0.5, test=0)
    assert (dataset.task, dataset.labels, len(dataset.samples)) == ("segment", ("background", "object"), 2)
    assert "4 files of objects are the class 'object' of 2 masks" in dataset.notes
    for sample in dataset.samples:
        assert sample.mask is not None
        assert masks.read(sample.mask).tolist() == [[1, 0, 0], [1, 0, 1]]


def test_splits_are_those_of_the_folders_and_images_without_masks_are_named(tmp_path: Path) -> None:
    nuclei(tmp_path / "stage1_train")
    wrote(tmp_path / "stage1_test/c/images/c.png")
    listing = read_instances(look_at(tmp_path))
    assert [entry.split for entry in listing.entries] == ["train", "train"]
    assert [(fault.code, fault.file) for fault in listing.faults] == [("unannotated", "stage1_test/c/images/c.png")]


def test_numbered_masks_beside_an_image_are_its_objects(tmp_path: Path) -> None:
    for name in ("benign (1)", "benign (2)", "benign (3)"):
        wrote(tmp_path / f"benign/{name}.png")
    wrote(tmp_path / "benign/benign (1)_mask.png", [255, 0, 0], [255, 0, 0])
    wrote(tmp_path / "benign/benign (1)_mask_1.png", [0, 0, 255], [0, 0, 0])
    wrote(tmp_path / "benign/benign (2)_mask.png", [0, 255, 0], [0, 0, 0])
    listing = read_instances(look_at(tmp_path))
    drawn = [masks.read(entry.mask).tolist() for entry in listing.entries if entry.mask is not None]
    assert drawn == [[[1, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    assert [fault.file for fault in listing.faults] == ["benign/benign (3).png"]


def test_one_mask_beside_each_image_is_a_mask_of_its_own_classes(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png", "b_mask.png"):
        wrote(tmp_path / name)
    assert not is_instances(look_at(tmp_path))


def test_objects_that_do_not_fit_are_left_out_and_named(tmp_path: Path) -> None:
    nuclei(tmp_path)
    wrote(tmp_path / "a/masks/1.png", [255, 0])
    (tmp_path / "a/masks/2.png").write_bytes(b"no image")
    listing = read_instances(look_at(tmp_path))
    assert [fault.file for fault in listing.faults] == ["a/masks/1.png", "a/masks/2.png"]
    assert [entry.name for entry in listing.entries] == ["b/images/b.png"]


def test_a_mask_of_the_image_s_name_is_no_object(tmp_path: Path) -> None:
    wrote(tmp_path / "images/a.png")
    wrote(tmp_path / "masks/a.png", [0, 1, 0], [0, 1, 0])
    assert not is_instances(look_at(tmp_path))


def test_no_readable_object_is_refused(tmp_path: Path) -> None:
    nuclei(tmp_path)
    for path in tmp_path.glob("*/masks/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="no mask of an object"):
        read_instances(look_at(tmp_path))

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.boxes import Box
from mobilenets.data.checks.boxes import box_remarks, repaired
from mobilenets.data.checks.check import CODES, check, quick_check
from mobilenets.data.faults import Fault
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset, Sample, Split


def _sample(*boxes: Box, split: Split = "train", stated: tuple[int, int] | None = None, path: Path = Path("a.jpg")) -> Sample:
    return Sample(path, -1, split, name="a.jpg", boxes=boxes, stated=stated)


def _remarks(
    *boxes: Box, stated: tuple[int, int] | None = None, size: tuple[int, int] | None = (40, 30)
) -> list[tuple[str, str]]:
    dataset = Dataset(("cat", "dog"), (_sample(*boxes, stated=stated),), task="detect")
    return [(one.code, one.message) for one in box_remarks(dataset, [size])]


@pytest.mark.parametrize(("box", "found"), [
    (Box(0, 0, 0, 40, 30),       []),
    (Box(0, -0.4, 0, 40.4, 30),  []),
    (Box(0, 5, 5, 5, 9),         [("no-area", "'cat' at 5 5 5 9 has no area")]),
    (Box(0, 9, 5, 5, 9),         [("swapped", "'cat' at 9 5 5 9 has swapped corners")]),
    (Box(1, 5, 5, 42, 9),        [("beyond", "'dog' at 5 5 42 9 reaches 2 px beyond the image, 40 x 30")]),
    (Box(1, 40, 5, 50, 9),       [("outside", "'dog' at 40 5 50 9 is outside the image, 40 x 30")]),
    (Box(1, -9, -9, 5, 0),       [("outside", "'dog' at -9 -9 5 0 is outside the image, 40 x 30")]),
])  # fmt: skip
def test_each_thing_that_can_be_wrong_with_a_box_is_named(box: Box, found: list[tuple[str, str]]) -> None:
    assert _remarks(box) == found


def test_an_object_that_is_boxed_twice_is_named() -> None:
    first = Box(0, 0, 0, 20, 20)
    assert _remarks(first, Box(0, 0, 0, 20, 19)) == [("box-twice", "'cat' at 0 0 20 19 repeats 0 0 20 20")]
    assert _remarks(first, Box(1, 0, 0, 20, 20)) == [("box-conflict", "'dog' at 0 0 20 20 is also boxed as 'cat' at 0 0 20 20")]
    assert _remarks(first, Box(0, 0, 0, 20, 17)) == []
    assert _remarks(first, Box(0, 0, 0, 20, 20, crowd=True)) == []


def test_a_size_that_differs_from_the_annotations_is_named() -> None:
    box = Box(0, 1, 1, 5, 5)
    assert _remarks(box, stated=(40, 30)) == []
    assert _remarks(box, stated=(80, 60)) == [("stated-size", "is 40 x 30, but its annotation says 80 x 60")]
    assert "EXIF rotates the image" in _remarks(box, stated=(30, 40))[0][1]
    assert _remarks(box, stated=(80, 60), size=None) == []


def test_what_the_reader_read_past_and_bare_images_are_named() -> None:
    fault = Fault("stray", "has no image and is left out", "b.xml")
    dataset = Dataset(("cat",), (_sample(),), task="detect", faults=(fault,))
    assert list(box_remarks(dataset, [(40, 30)])) == [
        ("stray", "has no image and is left out", "b.xml"),
        ("no-objects", "1 of 1 images show no object", ""),
    ]
    assert "stray" in CODES


def test_repairs_follow_the_rule_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(path)
    boxes = (
        Box(0, 20, 2, 4, 12),  # swapped
        Box(0, 30, 20, 50, 40),  # reaches beyond
        Box(0, 5, 5, 5, 9),  # no area
        Box(0, 50, 5, 60, 9),  # outside: no area after it is cut
        Box(0, 4, 2, 20, 12),  # the first one again
        Box(1, 4, 2, 20, 12),  # another class
        Box(1, 4, 2, 20, 12, crowd=True),
    )
    dataset = Dataset(("cat", "dog"), (_sample(*boxes, path=path), _sample(*boxes, path=path, split="test")), task="detect")
    train, test = repaired(dataset).samples
    assert train.boxes == (
        Box(0, 4, 2, 20, 12),
        Box(0, 30, 20, 40, 30),
        Box(1, 4, 2, 20, 12),
        Box(1, 4, 2, 20, 12, crowd=True),
    )
    assert test.boxes == boxes
    assert repaired(dataset).notes == (
        "boxes of train: 1 with swapped corners corrected, 1 clipped to the image, 2 without area dropped, "
        "1 that repeat another dropped",
    )
    assert repaired(repaired(dataset)) == repaired(dataset)


def test_good_boxes_need_no_repair_and_no_look_at_the_image() -> None:
    dataset = Dataset(("cat",), (_sample(Box(0, 1, 1, 5, 5), stated=(40, 30), path=Path("gone.jpg")),), task="detect")
    assert repaired(dataset) == dataset


def test_check_of_a_detection_set_counts_boxes_and_knows_no_labels_of_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    samples = []
    splits: tuple[Split, ...] = ("train", "train", "val")
    for i, split in enumerate(splits):
        path = tmp_path / f"{i}.png"
        Image.fromarray(values if i < 2 else values[::-1]).save(path)
        boxes = tuple(Box(0, 10 * k, 10 * k, 10 * k + 100, 10 * k + 100) for k in range(3))
        samples.append(Sample(path, -1, split, name=path.name, boxes=boxes))
    found = check(Dataset(("cat",), tuple(samples), task="detect"), size=320)
    assert [(item.code, item.message) for item in found.items] == [("duplicate", "are the same file and are both in train")]
    assert [(one.low, one.high, one.boxes) for one in found.box_sizes] == [(64, 128, 9)]
    assert quick_check(Dataset(("cat",), tuple(samples), task="detect")).items == ()


def test_the_real_defects_of_bccd_are_found_and_named(shared: Path) -> None:
    """Two boxes are points, and seven cells were copied in labelImg, which lays a copy two px further right and down."""
    dataset = open_dataset(shared / "data" / "bccd")
    found = quick_check(dataset)
    files = {
        code: sorted(Path(item.files[0]).stem[-5:] for item in found.items if item.code == code)
        for code in ("no-area", "box-twice")
    }
    assert files["no-area"] == ["00338", "00343"]
    assert files["box-twice"] == ["00020", "00100", "00104", "00251", "00284", "00331", "00403"]
    assert Counter(item.code for item in found.items if item.level == "error") == {"no-area": 2}
    trained = repaired(dataset)
    assert trained.notes[-1] == "boxes of train: 1 without area dropped, 4 that repeat another dropped"
    assert [sum(trained.counts(split)) for split in ("train", "val", "test")] == [2800, 1138, 945]

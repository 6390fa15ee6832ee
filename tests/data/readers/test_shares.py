"""Boxes whose numbers are not what their format says are read as what they are, doubted, or refused; never taken for px."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.data.readers.written import N, coco, each, photos, text, xml

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError


def voc(corners: Sequence[float]) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_boxes_between_0_and_1_are_shares_of_the_image(tmp_path: Path, kind: str) -> None:
    if kind == "coco":
        text(tmp_path / "a.json", coco(*photos(tmp_path, "images/*.png"), bbox=[0.25, 0.5, 0.5, 0.5]))
    else:
        each(tmp_path, "images/*.png", "annotations/*.xml", voc((0.25, 0.5, 0.75, 1)))
    dataset = open_dataset(tmp_path)
    assert [sample.boxes[0].corners for sample in dataset.samples] == [(2, 3, 6, 6)] * N  # of 8 x 6 px
    assert any("read as shares of the image's width and height" in note for note in dataset.notes)


def test_corners_in_place_of_sizes_are_doubted(tmp_path: Path) -> None:
    text(tmp_path / "a.json", coco(*photos(tmp_path, "images/*.png"), bbox=[2, 3, 7, 5]))  # of 8 x 6 px
    (fault,) = open_dataset(tmp_path).faults
    assert fault.file == "a.json"
    assert fault.message.startswith(f"{N} of {N} boxes reach beyond their image as [x, y, width, height], but none would as")


@pytest.mark.parametrize("bbox", [[2, 3, 6, 3], [2, 3, 7, 3], [2, 3, 10, 5]])
def test_other_boxes_beyond_their_image_are_not_taken_for_corners(tmp_path: Path, bbox: list[float]) -> None:
    text(tmp_path / "a.json", coco(*photos(tmp_path, "images/*.png"), bbox=bbox))
    assert open_dataset(tmp_path).faults == ()


def test_run_lengths_of_a_turned_image_are_left_out(tmp_path: Path) -> None:
    runs = {"counts": [7, 3, 38], "size": [8, 6]}  # of 8 rows and 6 columns; the image has 6 and 8
    names = photos(tmp_path, "images/*.png")
    text(tmp_path / "a.json", coco(*names, segmentation=runs).replace("[8, 6]", "[6, 8]", 1))
    dataset = open_dataset(tmp_path, task="segment")
    assert [fault.message for fault in dataset.faults] == [
        f"annotations[{i}] has run lengths of size [8, 6] for 48 pixels, but its image is 8 x 6; it is left out" for i in (1, 2)
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml().replace("bndbox", "polygon"), "object 1, 'cat', has no <bndbox>, but <polygon>"),
        (xml().replace("</object>", "<bndbox/></object>"), "object 1, 'cat', has 2 times <bndbox>"),
    ],
)
def test_an_object_without_its_one_box_is_refused_with_what_it_has(tmp_path: Path, content: str, message: str) -> None:
    each(tmp_path, "images/*.png", "annotations/*.xml", content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.data import masks
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.cvat import read_cvat, read_cvat_masks
from mobilenets.data.readers.format import Asked
from mobilenets.data.source import look_at
from mobilenets.errors import DataError

SQUARE = '<polygon label="cat" points="1,1;5,1;5,4;1,4" z_order="{}"/>'
RUNS = '<mask label="dog" rle="{}" left="{}" top="2" width="3" height="2" z_order="1"/>'  # along the rows of 3 x 2


def cvat(folder: Path, *shapes: str, size: str = 'width="8" height="6"') -> Path:
    labels = "<labels><label><name>dog</name></label><label><name>cat</name></label></labels>"
    image = f'<image id="0" name="a.png" {size}>{"".join(shapes)}</image>'
    path = folder / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version><meta><task>{labels}</task></meta>{image}</annotations>")
    return path


def drawn(path: Path) -> list[list[int]]:
    [entry] = read_cvat_masks(look_at(path)).entries
    assert entry.mask is not None
    rows: list[list[int]] = masks.read(entry.mask).tolist()
    return rows


def test_polygons_and_masks_are_classes_of_pixels(tmp_path: Path) -> None:
    path = cvat(tmp_path, SQUARE.format(0), RUNS.format("1,2,2,1", 4), '<box label="cat" xtl="0" ytl="0" xbr="1" ybr="1"/>')
    listing = read_cvat_masks(look_at(path))
    assert (listing.labels, listing.task) == (("background", "dog", "cat"), "segment")
    assert listing.notes == ("1 box, line or point has no outline and is left out",)
    assert drawn(path) == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 2, 0, 0, 0],
        [0, 2, 2, 2, 2, 1, 1, 0],
        [0, 2, 2, 2, 2, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(("layer", "top"), [(0, 1), (2, 2)])
def test_the_higher_layer_is_on_top(tmp_path: Path, layer: int, top: int) -> None:
    assert drawn(cvat(tmp_path, SQUARE.format(layer), RUNS.format("0,6", 1)))[2][2] == top


@pytest.mark.parametrize(
    "shape", [RUNS.format("0,6", 6), RUNS.format("0,5", 1), '<polygon label="cat" points="0,0;9e8,0;0,9e8"/>']
)
def test_what_does_not_fit_its_image_is_left_out_and_named(tmp_path: Path, shape: str) -> None:
    listing = read_cvat_masks(look_at(cvat(tmp_path, SQUARE.format(0), shape)))
    assert [fault.message for fault in listing.faults] == ["shape 2 of 'a.png' does not fit its image of 8 x 6; it is left out"]
    assert listing.labels == ("background", "cat")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (RUNS.format("0,-6", 1), "shape 1 is a mask whose place or run lengths are not whole numbers"),
        ('<box label="cat" xtl="0" ytl="0" xbr="1" ybr="1"/>', "has no polygon, ellipse or mask"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, shape: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_cvat_masks(look_at(cvat(tmp_path, shape)))


def test_what_has_no_box_and_files_that_are_not_read_are_said(tmp_path: Path) -> None:
    skeleton = '<skeleton label="dog"><points label="1" points="1.0,2.0"/></skeleton>'
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cvat(tmp_path / folder, SQUARE.format(0), skeleton)
    notes = read_cvat(look_at(tmp_path)).notes
    assert (
        "of 2 CVAT files, only 'a/annotations.xml' is read; to read 'b/annotations.xml', give its folder or its file" in notes
    )
    assert "1 point, skeleton or cuboid has no box and is left out" in notes


def test_classes_may_be_ignored(tmp_path: Path) -> None:
    path = cvat(tmp_path, SQUARE.format(0), RUNS.format("0,6", 5))
    [entry] = read_cvat_masks(look_at(path), Asked(ignore=("dog",))).entries
    assert entry.mask is not None
    assert masks.read(entry.mask)[2].tolist() == [0, 1, 1, 1, 1, 255, 255, 255]


def test_without_a_task_outlines_are_boxes_and_a_note_says_so(tmp_path: Path) -> None:
    dataset = open_dataset(cvat(tmp_path, SQUARE.format(0)), val=0, test=0)
    assert (dataset.task, dataset.samples[0].boxes[0].corners) == ("detect", (1, 1, 5, 4))
    assert dataset.notes[0].endswith("--task segment reads them as masks")
    assert open_dataset(tmp_path / "annotations.xml", task="segment", val=0, test=0).labels == ("background", "cat")


@pytest.mark.parametrize(
    ("shape", "corners"),
    [
        ('<box label="cat" xtl="2" ytl="2" xbr="6" ybr="4" rotation="90"/>', (3, 1, 5, 5)),
        ('<box label="cat" xtl="6" ytl="2" xbr="2" ybr="4"/>', (6, 2, 2, 4)),  # swapped, which `check` reports
        ('<ellipse label="cat" cx="4" cy="3" rx="3" ry="1"/>', (1, 2, 7, 4)),
        ('<ellipse label="cat" cx="4" cy="3" rx="2" ry="1" rotation="90"/>', (3, 1, 5, 5)),
    ],
)
def test_a_shape_is_the_box_around_it(tmp_path: Path, shape: str, corners: tuple[float, ...]) -> None:
    [entry] = read_cvat(look_at(cvat(tmp_path, shape))).entries
    box = entry.boxes[0]
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(corners)

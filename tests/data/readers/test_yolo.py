from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.boxes import NamedBox
from mobilenets.data.readers.yolo import is_yolo, read_yolo
from mobilenets.data.readers.yolo_places import labels_path
from mobilenets.data.source import look_at
from mobilenets.errors import DataError

YAML = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"


def _image(path: Path, lines: str | None, *, turned: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    if lines is not None:
        labels = labels_path(path)
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(lines)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two images of 40 x 20 px with data.yaml."""
    _image(tmp_path / "images" / "train" / "a.jpg", "1 0.5 0.5 0.25 0.5\n\n0 0.25 0.25 0.5 0.5\n")
    _image(tmp_path / "images" / "val" / "b.jpg", "")
    (tmp_path / "data.yaml").write_text(YAML)
    return tmp_path


def test_shares_become_px(pets: Path) -> None:
    assert is_yolo(look_at(pets))
    assert is_yolo(look_at(pets / "data.yaml"))
    listing = read_yolo(look_at(pets))
    assert listing == read_yolo(look_at(pets / "data.yaml"))
    a, b = listing.entries
    assert a.boxes == (NamedBox("dog", 15, 5, 25, 15), NamedBox("cat", 0, 0, 20, 10))
    assert (a.name, a.split, b.split, b.boxes) == ("images/train/a.jpg", "train", "val", ())
    assert (listing.labels, listing.task, listing.faults) == (("cat", "dog"), "detect", ())


def test_an_image_that_exif_turns_is_measured_upright(pets: Path) -> None:
    _image(pets / "images" / "train" / "a.jpg", "0 0.5 0.5 1 1", turned=True)
    assert read_yolo(look_at(pets)).entries[0].boxes == (NamedBox("cat", 0, 0, 20, 40),)


def test_of_a_polygon_the_box_around_it_is_taken(pets: Path) -> None:
    _image(pets / "images" / "train" / "a.jpg", "0 0.25 0.5 0.5 0.25 0.75 0.75\n")
    assert read_yolo(look_at(pets)).entries[0].boxes == (NamedBox("cat", 10, 5, 30, 15),)


def test_names_may_be_a_mapping_and_places_lists_and_files(pets: Path) -> None:
    (pets / "val.txt").write_text("./images/val/b.jpg\n")
    (pets / "data.yaml").write_text("train: [images/train]\nval: val.txt\nnames:\n  1: dog\n  0: cat\n")
    listing = read_yolo(look_at(pets))
    assert listing.labels == ("cat", "dog")
    assert [(one.path.name, one.split) for one in listing.entries] == [("a.jpg", "train"), ("b.jpg", "val")]


def test_roboflows_paths_are_found_beside_the_file(pets: Path) -> None:
    (pets / "data.yaml").write_text("train: ../images/train\nval: ../images/val\ntest: ../test/images\nnames: [cat, dog]\n")
    assert len(read_yolo(look_at(pets)).entries) == 2


def test_classes_txt_does_where_there_is_no_yaml(pets: Path) -> None:
    (pets / "data.yaml").unlink()
    (pets / "classes.txt").write_text("cat\ndog\n")
    assert is_yolo(look_at(pets))
    assert [(one.name, one.split, len(one.boxes)) for one in read_yolo(look_at(pets)).entries] == [
        ("images/train/a.jpg", "train", 2),
        ("images/val/b.jpg", "val", 0),
    ]


def test_what_does_not_belong_together_is_named(pets: Path) -> None:
    (pets / "labels" / "val" / "b.txt").rename(pets / "labels" / "val" / "c.txt")
    _image(pets / "images" / "train" / "a.jpg", "2 0.5 0.5 1 1\n")
    listing = read_yolo(look_at(pets))
    assert [(fault.code, fault.file) for fault in listing.faults] == [
        ("unknown-class", "labels/train/a.txt"),
        ("unannotated", "images/val/b.jpg"),
        ("stray", "labels/val/c.txt"),
    ]
    assert [len(one.boxes) for one in listing.entries] == [0, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat 0.5 0.5 1 1", "a.txt' line 2 is 'cat 0.5 0.5 1 1', not only numbers"),
        ("0 0.5 0.5 1", "line 2 has 4 numbers, not five"),
        ("0 0.5 0.5 1 1 1 1 1", "line 2 has 8 numbers, not five"),
        ("0.5 0.5 0.5 1 1", "line 2: the class is '0.5', not a whole number"),
        ("0 12 8 5 5", "line 2: 12 is not a share of the image"),
        ("0 nan 0.5 1 1", "line 2: nan is not a share of the image"),
    ],
)
def test_a_bad_line_is_named(pets: Path, line: str, message: str) -> None:
    _image(pets / "images" / "train" / "a.jpg", f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_yolo(look_at(pets))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat", "is not valid YAML: .*line 1"),
        ("just text", "has no keys"),
        ("train: images/train", "has no key 'names'"),
        ("names: [cat, cat]\ntrain: images/train", "names 'cat' twice"),
        ("names: [cat]", "has no key 'train'"),
        ("names: [cat]\ntrain: shots", "train is 'shots', which does not exist"),
        ("names: [cat]\ntrain: 3", "train is 3, not a folder"),
    ],
)
def test_a_bad_yaml_is_named(pets: Path, text: str, message: str) -> None:
    (pets / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_yolo(look_at(pets))

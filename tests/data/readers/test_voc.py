from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.boxes import Box, NamedBox
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.voc import is_voc, read_voc
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


def _object(name: str, corners: tuple[float, ...], more: str = "") -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    inner = "".join(f"<{key}>{value:g}</{key}>" for key, value in zip(keys, corners, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{inner}</bndbox></object>"


def _annotate(folder: Path, stem: str, *objects: str, head: str = "", size: str = "40 30") -> None:
    """An image of 40 x 30 px with its XML file."""
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages").mkdir(exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / f"{stem}.jpg")
    width, height = size.split()
    stated = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    text = f"<annotation>{head}{stated}{''.join(objects)}</annotation>"
    (folder / "Annotations" / f"{stem}.xml").write_text(text)


def _sets(folder: Path, **names: str) -> None:
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for name, stems in names.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems.split()) + "\n")


def test_vocs_pixels_from_1_become_edges_from_0(tmp_path: Path) -> None:
    _annotate(tmp_path, "a", _object("cat", (1, 1, 40, 30)), _object("cat", (11, 6, 20, 10)))
    (entry,) = read_voc(look_at(tmp_path)).entries
    assert entry.boxes == (NamedBox("cat", 0, 0, 40, 30), NamedBox("cat", 10, 5, 20, 10))
    assert (entry.name, entry.stated) == ("JPEGImages/a.jpg", (40, 30))


def test_labelimgs_numbers_are_edges_where_1_stands_for_0(tmp_path: Path) -> None:
    head = "<path>/home/me/a.jpg</path><source><database>Unknown</database></source>"
    _annotate(tmp_path, "a", _object("cat", (1, 5, 20, 30)), _object("cat", (7, 7, 7, 7)), head=head)
    listing = read_voc(look_at(tmp_path))
    assert listing.entries[0].boxes == (NamedBox("cat", 0, 5, 20, 30), NamedBox("cat", 7, 7, 7, 7))
    assert listing.notes == ("files by labelImg: corners are edges, in px, and 1 stands for 0",)


def test_a_set_that_counts_from_0_is_found_by_its_zeros(tmp_path: Path) -> None:
    _annotate(tmp_path, "a", _object("cat", (0, 0, 20, 10)))
    _annotate(tmp_path, "b", _object("cat", (1, 3, 20, 10)))
    listing = read_voc(look_at(tmp_path))
    assert [entry.boxes[0] for entry in listing.entries] == [NamedBox("cat", 0, 0, 20, 10), NamedBox("cat", 1, 3, 20, 10)]
    assert "from 0" in listing.notes[0]


def test_splits_are_those_of_the_files_and_trainval_fills_in(tmp_path: Path) -> None:
    for stem in "abcdefg":
        _annotate(tmp_path, stem, _object("cat", (2, 2, 9, 9)))
    _sets(tmp_path, train="a b", val="c", trainval="a b c d", test="e f")
    (tmp_path / "ImageSets" / "Main" / "cat_train.txt").write_text("g 1\n")
    listing = read_voc(look_at(tmp_path))
    assert {entry.path.stem: entry.split for entry in listing.entries} == {
        **dict.fromkeys("abd", "train"),
        "c": "val",
        **dict.fromkeys("ef", "test"),
    }
    assert listing.notes == ("1 image is in no split of ImageSets/Main and left out, such as 'g'",)
    assert listing.faults == ()


def test_names_with_spaces_and_the_marks_of_class_files_are_read(tmp_path: Path) -> None:
    _annotate(tmp_path, "my cat", _object("cat", (2, 2, 9, 9)))
    _annotate(tmp_path, "b", _object("cat", (2, 2, 9, 9)))
    _sets(tmp_path, train="")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("my cat\nb  -1\n")
    assert {entry.path.stem for entry in read_voc(look_at(tmp_path)).entries} == {"my cat", "b"}


def test_a_name_that_ends_in_a_number_is_no_mark_where_there_is_such_an_image(tmp_path: Path) -> None:
    for stem in ("frame", "frame 1"):
        _annotate(tmp_path, stem, _object("cat", (2, 2, 9, 9)))
    _sets(tmp_path, train="")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("frame 1\n")
    assert [entry.path.stem for entry in read_voc(look_at(tmp_path)).entries] == ["frame 1"]


def test_the_list_of_cvat_names_no_split(tmp_path: Path) -> None:
    for stem in "abc":
        _annotate(tmp_path, stem, _object("cat", (2, 2, 9, 9)))
    _sets(tmp_path, default="a b")
    assert [(entry.path.stem, entry.split) for entry in read_voc(look_at(tmp_path)).entries] == [("a", None), ("b", None)]


def test_flags_are_kept_and_parts_are_no_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    _annotate(tmp_path, "a", _object("cat", (2, 2, 9, 9), "<difficult>1</difficult>" + part))
    assert read_voc(look_at(tmp_path)).entries[0].boxes == (NamedBox("cat", 1, 1, 9, 9, difficult=True),)


def test_what_does_not_belong_together_is_left_out_and_named(tmp_path: Path) -> None:
    for stem in "abc":
        _annotate(tmp_path, stem, _object("cat", (2, 2, 9, 9)), _object("dgo", (2, 2, 9, 9)))
    (tmp_path / "labels.txt").write_text("dog\ncat\n")
    (tmp_path / "Annotations" / "b.xml").unlink()
    (tmp_path / "JPEGImages" / "c.jpg").unlink()
    listing = read_voc(look_at(tmp_path))
    assert listing.labels == ("dog", "cat")
    assert [(entry.path.stem, len(entry.boxes)) for entry in listing.entries] == [("a", 1)]
    assert [(fault.code, fault.file) for fault in listing.faults] == [
        ("unknown-class", "Annotations/a.xml"),
        ("unannotated", "JPEGImages/b.jpg"),
        ("stray", "Annotations/c.xml"),
    ]


def test_an_image_in_two_splits_stays_in_the_one_that_measures(tmp_path: Path) -> None:
    for stem in "ab":
        _annotate(tmp_path, stem, _object("cat", (2, 2, 9, 9)))
    _sets(tmp_path, train="a b", test="b")
    listing = read_voc(look_at(tmp_path))
    assert [(entry.path.stem, entry.split) for entry in listing.entries] == [("a", "train"), ("b", "test")]
    assert [(fault.code, fault.file) for fault in listing.faults] == [("split-twice", "b")]


def test_files_beside_the_images_are_read_below_split_folders(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        _annotate(tmp_path, "a", _object("cat", (2, 2, 9, 9)))
        (tmp_path / split).mkdir()
        for file in ("Annotations/a.xml", "JPEGImages/a.jpg"):
            (tmp_path / file).rename(tmp_path / split / Path(file).name)
    for empty in ("Annotations", "JPEGImages"):
        (tmp_path / empty).rmdir()
    assert is_voc(look_at(tmp_path))
    assert [(entry.name, entry.split) for entry in read_voc(look_at(tmp_path)).entries] == [
        ("train/a.jpg", "train"),
        ("valid/a.jpg", "val"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object></annotation>", "a.xml' is not valid XML: mismatched tag: line 1"),
        ("<html/>", "a.xml. is a web page, not the file itself"),
        ("<root/>", "begins with <root>, not with <annotation>"),
        ("<annotation><object><bndbox/></object></annotation>", "object 1 has no <name>"),
        ("<annotation><object><name>cat</name></object></annotation>", "object 1, 'cat', has no <bndbox>"),
        (f"<annotation>{_object('cat', (1, 2, 3, float('nan')))}</annotation>", "<ymax> is 'nan', not a number"),
        ("<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object></annotation>", "has no <ymin>"),
        ("<annotation><size><width>wide</width></size></annotation>", "<size/width> is 'wide', not a number"),
    ],
)
def test_a_bad_file_is_named_with_the_place_in_it(tmp_path: Path, text: str, message: str) -> None:
    _annotate(tmp_path, "a")
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_voc(look_at(tmp_path))


def test_bccd_has_its_published_splits_and_boxes(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "bccd")
    assert (dataset.task, dataset.labels) == ("detect", ("Platelets", "RBC", "WBC"))
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [205, 87, 72]
    assert sum(len(sample.boxes) for sample in dataset.samples) == 4888
    first = next(sample for sample in dataset.samples if sample.path.stem == "BloodImage_00000")
    assert first.boxes[0] == Box(2, 260, 177, 491, 376)  # the file: WBC 260 177 491 376
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 640 and box.y1 <= 480 for one in dataset.samples for box in one.boxes)

"""Folders of classes are read as people lay them out, and what cannot be meant is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.data.readers.folders import read_folder
from mobilenets.data.source import look_at
from mobilenets.errors import DataError


def lay_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_folder_per_class(tmp_path: Path) -> None:
    listing = read_folder(
        look_at(lay_out(tmp_path / "pets", "dog/b.JPG", "dog/a.png", "cat/x.webp", "cat/.DS_Store", ".git/x.png"))
    )
    assert listing.labels == ("cat", "dog")
    assert [(entry.name, entry.label, entry.split) for entry in listing.entries] == [
        ("cat/x.webp", "cat", None),
        ("dog/a.png", "dog", None),
        ("dog/b.JPG", "dog", None),
    ]
    assert listing.name == "pets"


@pytest.mark.parametrize("word", ["val", "valid", "Validation"])
def test_split_folders_above_the_classes(tmp_path: Path, word: str) -> None:
    listing = read_folder(
        look_at(lay_out(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{word}/cat/2.png", "test/dog/3.png"))
    )
    assert listing.labels == ("cat", "dog")
    assert {entry.name: entry.split for entry in listing.entries} == {
        "train/cat/1.png": "train",
        "train/dog/1.png": "train",
        f"{word}/cat/2.png": "val",
        "test/dog/3.png": "test",
    }


def test_classes_may_be_called_train_and_car(tmp_path: Path) -> None:
    assert read_folder(look_at(lay_out(tmp_path, "train/1.png", "car/2.png"))).labels == ("car", "train")


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert read_folder(look_at(lay_out(tmp_path, *(f"{i}/a.png" for i in (0, 2, 10))))).labels == ("0", "2", "10")


def test_files_that_are_no_images_are_listed(tmp_path: Path) -> None:
    listing = read_folder(look_at(lay_out(tmp_path, "cat/1.png", "cat/notes.txt", "README.md")))
    assert [path.name for path in listing.ignored] == ["README.md", "notes.txt"]


def test_photos_that_are_not_read_are_said_unless_a_copy_is_read(tmp_path: Path) -> None:
    lay_out(tmp_path, "cat/1.png", "dog/2.png", "dog/2.CR2", "dog/3.HEIC", "cat/4.heic")
    (note,) = read_folder(look_at(tmp_path)).notes
    assert note.startswith("2 HEIC images, such as 'cat/4.heic', are not read and left out: convert them to JPEG or PNG")


def test_an_empty_class_folder_is_said(tmp_path: Path) -> None:
    listing = read_folder(look_at(lay_out(tmp_path, "cat/1.png", "dog/readme.txt")))
    assert listing.labels == ("cat",)
    assert listing.notes == (f"'{tmp_path / 'dog'}' holds no image",)


def test_many_empty_class_folders_are_one_note(tmp_path: Path) -> None:
    listing = read_folder(look_at(lay_out(tmp_path, "a/1.png", *(f"z{i}/readme.txt" for i in range(9)))))
    assert listing.notes == (f"9 folders hold no image, such as '{tmp_path / 'z0'}'",)


def test_a_class_may_have_its_images_in_a_folder_called_images(tmp_path: Path) -> None:
    listing = read_folder(look_at(lay_out(tmp_path, "train/n01/images/1.png", "train/n02/images/2.png", "val/n01/3.png")))
    assert [(entry.label, entry.split) for entry in listing.entries] == [("n01", "train"), ("n02", "train"), ("n01", "val")]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/b/1.png", "a/c/2.png"], "holds folders with images: 'b', 'c'"),
        (["1.png", "2.jpg"], "2 images but no folder"),
        (["train/1.png", "test/2.png"], "'.*train' holds 1 image but no folder per class"),
        (["train/cat.1.png", "test1/1.png"], "'.*train' holds 1 image but no folder per class"),
        (["train/cat/1.png", "birds/2.png"], "birds' is beside the split folder 'train'"),
        (["cat/notes.txt"], "no folder below"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_folder(look_at(lay_out(tmp_path, *names)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing"):
        read_folder(look_at(tmp_path))

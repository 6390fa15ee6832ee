"""Tables of labels by other programs, in the forms that people have them in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.open import open_dataset
from mobilenets.errors import DataError

N = 12
Write = Callable[[Path], object]


def photos(folder: Path, pattern: str = "images/{}.jpg") -> None:
    """Photos 0 to 11."""
    for i in range(N):
        path = folder / pattern.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (20 * i, 0, 0)).save(path)


def rows(line: Callable[[int], str], header: str = "", last: int = N) -> str:
    """A table with a row for each photo."""
    return header + "".join(line(i) + "\n" for i in range(last))


def label(i: int) -> str:
    """The label of a photo."""
    return "cat" if i % 2 else "dog"


LAYOUTS: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "one column a class": ("train.csv", "image_id,cat,dog\n", lambda i: f"{i},{i % 2},{1 - i % 2}"),
    "the same as Roboflow has it": ("_classes.csv", "filename, cat, dog\n", lambda i: f"{i}.jpg, {i % 2}, {1 - i % 2}"),
    "the same with decimals": ("y.csv", "image_id,cat,dog\n", lambda i: f"{i},{i % 2}.0,{1 - i % 2}.0"),
    "names of columns in another style": ("y.csv", "ImageID,LabelName\n", lambda i: f"{i},{label(i)}"),
    "columns that nobody knows": ("liste.csv", "Klasse;Datei\n", lambda i: f"{label(i)};images\\{i}.jpg"),
    "a delimiter that Excel states": ("y.csv", "sep=|\nDatei|Klasse\n", lambda i: f"{i}.jpg|{label(i)}"),
    "no header": ("y.csv", "", lambda i: f"images/{i}.jpg,{label(i)}"),
    "a text file": ("all.txt", "", lambda i: f"images/{i}.jpg {label(i)}"),
    "JSON lines": ("metadata.jsonl", "", lambda i: json.dumps({"file_name": f"{i}.jpg", "label": label(i)})),
    "a weight of the things": ("y.csv", "id,label,weight\n", lambda i: f"{i},{label(i)},{-i}"),
    "sizes and names of the things": ("y.csv", "id,label,size,name\n", lambda i: f"{i},{label(i)},big,pet"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", ["folder", "table"])
def test_labels_are_found_whatever_the_columns_are_called(tmp_path: Path, layout: str, given: str) -> None:
    name, header, line = LAYOUTS[layout]
    if layout == "a weight of the things" and given == "table":
        pytest.skip("a list that is given as such may state weights, and these are refused")
    photos(tmp_path)
    (tmp_path / name).write_text(rows(line, header))
    dataset = open_dataset(tmp_path if given == "folder" else tmp_path / name, val=0, test=0)
    assert dataset.labels == ("cat", "dog")
    assert {sample.path.stem: dataset.labels[sample.label] for sample in dataset.samples} == {
        str(i): label(i) for i in range(N)
    }
    assert all(sample.path.is_file() and sample.weight == 1 for sample in dataset.samples)


def test_a_text_file_may_name_paths_with_spaces(tmp_path: Path) -> None:
    photos(tmp_path, "my photos/no {}.jpg")
    (tmp_path / "train.txt").write_text(rows(lambda i: f"my photos/no {i}.jpg {label(i)}"))
    assert len(open_dataset(tmp_path).samples) == N


def test_a_table_may_name_splits_and_groups_beside_a_column_for_each_class(tmp_path: Path) -> None:
    photos(tmp_path)
    table = rows(lambda i: f"{i},{i % 2},{1 - i % 2},{'test' if i > 8 else 'train'},g{i // 2}", "id,cat,dog,split,patient\n")
    (tmp_path / "y.csv").write_text(table)
    dataset = open_dataset(tmp_path, group="patient")
    assert dataset.labels == ("cat", "dog")
    assert sorted(sample.path.stem for sample in dataset.samples if sample.split == "test") == ["10", "11", "9"]
    assert {sample.group for sample in dataset.samples} == {f"g{i}" for i in range(6)}


@pytest.mark.parametrize(("cells", "words"), [("1,1", "line 3 has 2 classes: 'cat', 'dog'"), ("0,0", "line 3 has no class")])
def test_an_image_of_several_classes_or_of_none_is_refused_with_its_line(tmp_path: Path, cells: str, words: str) -> None:
    photos(tmp_path)
    (tmp_path / "y.csv").write_text("id,cat,dog\n0,1,0\n1," + cells + "\n2,0,1\n")
    with pytest.raises(DataError, match=words):
        open_dataset(tmp_path)


UNREAD = {
    "no label": ("y.csv", "image,tags\n0,a b\n", "'y.csv' has the columns image, tags, but none for the label"),
    "no path": ("y.csv", "who,label,when\n0,a,b\n", "but none for the path (call it 'path')"),
    "boxes in one column": (
        "y.csv",
        'id,label,bbox\n0,a,"[1, 2]"\n',
        "'y.csv' has boxes in the column 'bbox'; boxes are read from",
    ),
    "other images": ("y.csv", "id,label\nx0,a\n", "'y.csv' names images that are not there, such as 'x0'"),
    "nothing": ("y.csv", "id,label\n", "'y.csv' lists no image"),
    "several classes": ("y.csv", "id,cat,dog\n0,1,1\n1,1,1\n", "has the columns id, cat, dog, but none for the label"),
    "boxes": (
        "metadata.jsonl",
        '{"file_name": "0.jpg", "objects": {}}\n',
        "the columns file_name, objects, but none for the label",
    ),
    "no JSON": ("metadata.jsonl", '{"file_name": "0.jpg", "label": 1}\n{', "metadata.jsonl' line 2"),
    "a list in JSON": ("metadata.jsonl", '{"file_name": "0.jpg", "label": 1}\n[1]', "line 2 is not a JSON object"),
}


@pytest.mark.parametrize("case", UNREAD)
@pytest.mark.parametrize("folder", ["images/{}.jpg", "{}.jpg", "train/{}.jpg"])
def test_a_table_that_says_nothing_about_the_images_is_named_with_what_it_lacks(tmp_path: Path, case: str, folder: str) -> None:
    name, content, words = UNREAD[case]
    photos(tmp_path, folder)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as raised:
        open_dataset(tmp_path)
    assert words in f"{raised.value} {raised.value.hint}"


def test_a_test_folder_without_labels_is_left_out_with_a_note(tmp_path: Path) -> None:
    for i in range(N):
        photos(tmp_path, f"train/{label(i)}/{{}}_{i}.png")
    photos(tmp_path, "test/{}.jpg")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("cat", "dog")
    assert not [sample for sample in dataset.samples if sample.split == "test"]
    assert any("test' holds 12 images but no folder per class, and is left out" in note for note in dataset.notes)


def test_class_folders_may_lie_in_a_folder_of_images_in_every_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        photos(tmp_path, f"{split}/images/cat/{{}}.png")
        photos(tmp_path, f"{split}/images/dog/{{}}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("cat", "dog")
    assert sum(sample.split == "val" for sample in dataset.samples) == 2 * N

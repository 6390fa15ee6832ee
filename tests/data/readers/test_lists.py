"""CSV and TSV lists, and the `splits.csv` of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.data.open import open_dataset
from mobilenets.data.readers.lists import read_list, read_splits
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.writers.lists import write_splits
from mobilenets.errors import DataError, UnknownNameError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_all_columns(tmp_path: Path) -> None:
    text = "path,label,split,weight,group\na/1.png,cat,train,2.5,p1\n/far/2.png,dog,validation,,p2\n\n"
    one, two = read_list(write(tmp_path / "pets.csv", text)).entries
    assert (one.path, one.label, one.split, one.weight, one.group, one.name) == (
        tmp_path / "a/1.png",
        "cat",
        "train",
        2.5,
        "p1",
        "a/1.png",
    )
    assert (two.path, two.split, two.weight) == (Path("/far/2.png"), "val", 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "path\tlabel\nx, y.png\tcat\n"),
        ("a.csv", "path;label\nx, y.png;cat\n"),
        ("a.csv", '\ufeffFile Name,path,Class\r\n1,"x, y.png",cat\r\n'),
        ("a.csv", 'filename,category\n"x, y.png",cat'),
        ("a.csv", "path|label\nx, y.png|cat\n"),
    ],
)
def test_dialects(tmp_path: Path, name: str, text: str) -> None:
    (entry,) = read_list(write(tmp_path / name, text)).entries
    assert (entry.path, entry.label) == (tmp_path / "x, y.png", "cat")


@pytest.mark.skipif("os.sep != '/'", reason="backslashes are separators here")
def test_backslashes_of_another_system(tmp_path: Path) -> None:
    (entry,) = read_list(write(tmp_path / "a.csv", "path,label\na\\b.png,cat\n")).entries
    assert entry.path == tmp_path / "a" / "b.png"


def test_any_column_may_name_the_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "path,label,patient\n1.png,a,7\n")
    assert read_list(path, group="patient").entries[0].group == "7"
    with pytest.raises(UnknownNameError, match="did you mean 'patient'"):
        read_list(path, group="patent")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file_id,kind\n1,2\n", "no column 'path'; found: file_id, kind"),
        ("path\n1.png\n", "no column 'label'"),
        ("", "a.csv' is empty"),
        ("path,label,Label\n1.png,a,b\n", "a.csv' has several columns called 'label'"),
        ("path,label\n", "lists no image"),
        ("path,label\n1.png,a\n2.png,\n", "line 3 has no label"),
        ("path,label\n1.png,a,b\n", "line 2 has 3 fields, but the header names 2: path, label"),
        ("path,label,split\n1.png,a,holdout\n", "'holdout' is not a split"),
        ("path,label,split\n1.png,a,train\n2.png,a,\n", "1 of 2 images, but none for '2.png'"),
        ("path,label,weight\n1.png,a,much\n", "the weight is 'much', not a number"),
        ("path,label,weight\n1.png,a,-1\n", "-1 is not zero or more"),
        ("path,label,weight\n1.png,a,nan\n", "the weight is 'nan', not a number"),
        ('path,label\n1.png,"[{""x"":1}]"\n', "line 2: the label is JSON"),
        ("path,label\n1.png,a\n1.png,b\n", "listed as 'a' and as 'b'"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_list(write(tmp_path / "a.csv", text))


def test_a_line_that_stands_twice_counts_once(tmp_path: Path) -> None:
    assert len(read_list(write(tmp_path / "a.csv", "path,label\n1.png,a\n1.png,a\n")).entries) == 1


def test_splits_come_back_as_they_were_written(tmp_path: Path) -> None:
    samples = (
        Sample(tmp_path / "ä, b.png", 1, "train", weight=1 / 3, group="g", name="ä, b.png"),
        Sample(tmp_path / "s.tar", 0, "val", member=(512, 77), name="s.tar/0.jpg"),
        Sample(tmp_path / "\udcff.png", 0, "test", name="\udcff.png"),
    )
    dataset = Dataset(("z", "a"), samples, "set")
    write_splits(dataset, tmp_path / "splits.csv")
    assert read_splits(tmp_path / "splits.csv", labels=("z", "a")).samples == samples
    assert read_splits(tmp_path / "splits.csv").labels == ("a", "z")
    with pytest.raises(DataError, match="'z', which is not one of a, b"):
        read_splits(tmp_path / "splits.csv", labels=("a", "b"))


def test_boxes_in_a_form_that_is_not_read_are_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'filename,bboxes,class\na.png,"[[1, 2, 3, 4]]",cat\n')
    with pytest.raises(DataError, match="has boxes in the column 'bboxes'") as caught:
        open_dataset(path)
    assert caught.value.hint == "--task classify reads the labels alone"
    assert open_dataset(path, task="classify").labels == ("cat",)

"""Lists are read back with every name that a file system allows."""

from __future__ import annotations

import csv
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.data.boxes import Box
from mobilenets.data.open import open_dataset
from mobilenets.data.readers.box_lists import read_box_list
from mobilenets.data.readers.lists import read_list, read_splits, split_names
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.writers.lists import table, write_box_list, write_list, write_splits
from mobilenets.errors import DataError

NAMES = [
    "new\nline.jpg",
    "return\r.jpg",
    "both\r\n.jpg",
    "nel\u0085.jpg",
    "separator\u2028\u2029.jpg",
    "feed\f\v\x1c\x1d\x1e.jpg",
    "bytes\udcff\udc80.jpg",
    " spaces .jpg ",
    "\t",
    "\u00a0",
    'quote"s, commas; and \\slashes.jpg',
    "=cmd|' /C calc'!A0",
    "'=quoted",
    "''",
    "+1-2",
    "-",
    "@sum",
    "-1",
    "#comment",
    "\ufeffmark",
    "http:colon",
    "NULL",
    "nan",
]


def dataset(folder: Path, *, boxes: bool = False) -> Dataset:
    """An image of each name, in the class of that name, or with a box of that class."""
    samples = []
    for i, name in enumerate(NAMES):
        box = (Box(i, 1, 2, 3.5, 4),) if boxes else ()
        samples.append(Sample(folder / name, -1 if boxes else i, "train", group=name, name=f"{name}/{name}", boxes=box))
    return Dataset(tuple(NAMES), tuple(samples), task="detect" if boxes else "classify")


def test_splits_keep_every_name_label_and_group(tmp_path: Path) -> None:
    before = dataset(tmp_path)
    write_splits(before, tmp_path / "splits.csv")
    assert read_splits(tmp_path / "splits.csv", labels=before.labels).samples == before.samples
    assert split_names(tmp_path / "splits.csv") == {sample.name: "train" for sample in before.samples}


def test_a_list_keeps_every_name_label_and_group(tmp_path: Path) -> None:
    before = dataset(tmp_path)
    write_list(before, tmp_path / "list.csv")
    entries = read_list(tmp_path / "list.csv").entries
    assert [(e.path, e.name, e.label, e.group) for e in entries] == [
        (s.path, s.name, before.labels[s.label], s.group) for s in before.samples
    ]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_list_of_boxes_keeps_every_name_label_and_group(tmp_path: Path, absolute: bool) -> None:
    before = dataset(tmp_path, boxes=True)
    write_box_list(before, tmp_path / "boxes.csv", below=None if absolute else tmp_path)
    entries = read_box_list(tmp_path / "boxes.csv").entries
    assert [(e.path, e.name, e.group, [box.label for box in e.boxes]) for e in entries] == [
        (s.path, s.name, s.group, [before.labels[box.label] for box in s.boxes]) for s in before.samples
    ]


def test_a_list_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(
        "path,label,split,weight,group,name,offset,size\n/a/x.jpg,-1,val,1,,x.jpg,,\n/a/b.tar,=b,train,2,g,y,512,99\n"
    )
    first, second = read_splits(path).samples
    assert (first.name, first.split, second.member, second.weight) == ("x.jpg", "val", (512, 99), 2.0)
    assert read_splits(path).labels == ("-1", "=b")


def test_no_cell_is_a_formula_and_numbers_stay(tmp_path: Path) -> None:
    write_splits(dataset(tmp_path), tmp_path / "splits.csv")
    text = (tmp_path / "splits.csv").read_bytes().decode("utf-8", "surrogateescape")
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert [cell for cell in cells if cell[:1] in "=+-@" and cell and cell not in ("-1",)] == []
    assert "-1" in cells


def test_every_python_quotes_a_carriage_return() -> None:
    assert table(["a"], [{"a": "x\ry"}]) == 'a\n"x\ry"\n'


def test_a_name_that_no_file_can_hold_is_said(tmp_path: Path) -> None:
    bad = Dataset(("a",), (Sample(tmp_path / "x", 0, "train", name="x\ud800y"),))
    with pytest.raises(DataError, match=r"splits\.csv' cannot be written: .*ud800"):
        write_splits(bad, tmp_path / "splits.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="not every name is allowed here")
def test_images_of_every_name_are_found_again_by_their_splits(tmp_path: Path) -> None:
    names = [name for name in NAMES if name.endswith(".jpg")]
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for name in names:
            with open(os.fsencode(tmp_path / "set" / label / name), "wb") as file:  # noqa: PTH123  # names of bytes
                Image.new("RGB", (8, 8)).save(file, "JPEG")
    before = open_dataset(tmp_path / "set")
    assert len(before.samples) == 2 * len(names)
    write_splits(before, tmp_path / "splits.csv")
    again = read_splits(tmp_path / "splits.csv", labels=before.labels)
    assert [sample.read() for sample in again.samples] == [sample.read() for sample in before.samples]
    absolute = tuple(replace(sample, path=sample.path.absolute()) for sample in before.samples)
    assert again.samples == absolute

"""`open_dataset` tells sources apart, and the fingerprint notices what changed."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.data import open as opening
from mobilenets.data.checks.leaks import copied_leaks
from mobilenets.data.entries import Entry, Listing, in_order
from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.readers.format import Asked, Format
from mobilenets.data.readers.table import FORMATS
from mobilenets.data.samples import SPLITS, Dataset
from mobilenets.data.source import Source
from mobilenets.data.writers.lists import write_splits
from mobilenets.data.writers.shards import write_shards
from mobilenets.errors import DataError, MissingExtraError, UsageError
from mobilenets.table import Table


def pets(folder: Path, n: int = 20) -> Path:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for i in range(n):
            (folder / label / f"{i}.png").write_bytes(b"x" * (i + 1))
    return folder


def test_a_folder(tmp_path: Path) -> None:
    dataset = open_dataset(pets(tmp_path / "pets"))
    assert (dataset.name, dataset.labels) == ("pets", ("cat", "dog"))
    assert [dataset.counts(split) for split in ("train", "val", "test")] == [(14, 14), (3, 3), (3, 3)]
    assert dataset.notes == ("no splits given: val 15% and test 15% drawn by seed 0, the same share of every class",)
    assert dataset.samples[0].read() == b"x"


def test_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,label,split\n1.png,cat,train\n2.png,cat,test\n3.png,cat,val\n")
    dataset = open_dataset(str(tmp_path / "a.csv"))
    assert [(sample.name, sample.split) for sample in dataset.samples] == [
        ("1.png", "train"),
        ("2.png", "test"),
        ("3.png", "val"),
    ]
    assert dataset.notes == ()


def as_list(folder: Path) -> Path:
    rows = [f"{label}/{i}.png,{label}\n" for label in ("cat", "dog") for i in range(20)]
    (folder / "list.csv").write_text("path,label\n" + "".join(rows))
    return folder / "list.csv"


def as_shards(folder: Path) -> Path:
    write_shards(open_dataset(folder, val=0, test=0), folder / "shards", per_shard=7)
    return folder / "shards"


def as_listed_folder(folder: Path) -> Path:
    (folder / "all").mkdir()
    rows = []
    for path in sorted(folder.glob("*/*.png")):
        rows.append(f"{path.parent.name}{path.stem},{path.parent.name}\n")
        path.rename(folder / "all" / f"{path.parent.name}{path.name}")
    (folder / "labels.csv").write_text("id,label\n" + "".join(rows))
    return folder


def as_tiny_imagenet(folder: Path) -> Path:
    for label in ("cat", "dog"):
        (folder / f"train/{label}").mkdir(parents=True)
        (folder / label).rename(folder / f"train/{label}/images")
    (folder / "val").mkdir()
    (folder / "val/val_annotations.txt").write_text("")
    return folder


def as_choices(folder: Path) -> Path:
    tasks = [
        {
            "data": {"image": f"/data/upload/{path.parent.name}/{path.name}"},
            "annotations": [{"lead_time": 1, "result": [chosen]}],
        }
        for path in sorted(folder.glob("*/*.png"))
        for chosen in [{"type": "choices", "value": {"choices": [path.parent.name]}}]
    ]
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder


KEPT: dict[str, Callable[[Path], Path]] = {
    "folder": lambda folder: folder,
    "list": as_list,
    "lists": as_listed_folder,
    "label-studio-choices": as_choices,
    "tiny-imagenet": as_tiny_imagenet,
    "shards": as_shards,
}


def test_every_format_of_classes_is_covered() -> None:
    assert set(KEPT) | {"elpv"} == {name for name, kind in FORMATS.items() if kind.task in ("classify", None)}


@pytest.mark.parametrize("kept", KEPT)
def test_every_format_gives_the_same_images(tmp_path: Path, kept: str) -> None:
    source = KEPT[kept](pets(tmp_path / "pets"))
    dataset = open_dataset(source, val=0.2, test=0.1)
    assert dataset.labels == ("cat", "dog")
    assert sorted((sample.label, len(sample.read())) for sample in dataset.samples) == [
        (k, i + 1) for k in (0, 1) for i in range(20)
    ]
    assert dataset.counts("val") == (4, 4)
    assert len({sample.name for sample in dataset.samples}) == 40
    assert fingerprint(dataset) == fingerprint(open_dataset(source, val=0.2, test=0.1))
    write_splits(dataset, tmp_path / "splits.csv")
    assert open_dataset(tmp_path / "splits.csv").samples == tuple(
        dataclasses.replace(sample, path=sample.path.absolute()) for sample in dataset.samples
    )


def test_every_split_gets_its_share_of_the_masks_that_show_a_rare_class(tmp_path: Path) -> None:
    for i in range(40):
        rare = i % 4 == 0
        for name, pixels in (("images", [[9, 9, 9]]), ("masks", [[0, 1, 2 if rare else 0]])):
            path = tmp_path / name / f"{i:02}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.array(pixels, np.uint8)).save(path)
    (tmp_path / "masks" / "01.png").write_bytes(b"broken")
    dataset = open_dataset(tmp_path, val=0.2, test=0.1, classes="ground,tree,bee")
    shown = {split: [int(Path(sample.name).stem) % 4 == 0 for sample in dataset.split(split)] for split in SPLITS}
    assert {split: (len(those), sum(those)) for split, those in shown.items()} == {
        "train": (28, 7),
        "val": (8, 2),
        "test": (4, 1),
    }
    assert "by the rarest class in each" in dataset.notes[-1]


def test_more_masks_than_are_looked_at_are_split_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_MASKS_LOOKED_AT", 3)
    for i in range(4):
        for name in ("images", "masks"):
            path = tmp_path / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.array([[0, 1]], np.uint8)).save(path)
    assert open_dataset(tmp_path).notes[-1].endswith("at random")


def test_groups_need_a_column(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'folder' has no column 'patient'"):
        open_dataset(pets(tmp_path / "pets"), group="patient")


@pytest.mark.parametrize("source", ["nothing-here", "nothing.csv", "nothing.tar", "nothing-{0..3}.tar", "elvp"])
def test_a_source_that_is_not_there(source: str) -> None:
    with pytest.raises(DataError, match="there is no"):
        open_dataset(source)


def test_a_source_that_is_not_there_is_answered_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pets(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    hints = {
        "pest": "did you mean 'pets'?",
        str(tmp_path / "pet" / "cat"): f"did you mean '{tmp_path / 'pets'}'?",
        "pets/dig": f"did you mean '{Path('pets', 'dog')}'?",
        "elvp": "did you mean 'elpv'?",
        "bicycles": "a folder, a file, the address of tar shards, or 'elpv' is expected",
    }
    for source, hint in hints.items():
        with pytest.raises(DataError, match="there is no") as caught:
            open_dataset(source)
        assert caught.value.hint == hint


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=r"a\.xlsx' is not a dataset") as caught:
        open_dataset(tmp_path / "a.xlsx")
    assert all(kind.title in caught.value.hint for kind in FORMATS.values())


@pytest.fixture(scope="module")
def elpv() -> Dataset:
    if importlib.util.find_spec("elpv_dataset") is None:
        pytest.skip("elpv-dataset is not installed")
    return open_dataset("elpv")


def test_elpv_has_its_published_counts(elpv: Dataset) -> None:
    assert elpv.labels == ("functional", "defective")
    # Deitsch et al. 2019, Table 1: 1508 + 295 cells below probability 0.5, 106 + 715 above
    assert Counter(sample.label for sample in elpv.samples) == {0: 1803, 1: 821}
    assert elpv.samples[0].read().startswith(b"\x89PNG")


def test_elpv_is_split_75_to_25(elpv: Dataset) -> None:
    assert sum(elpv.counts("test")) == 656
    assert elpv.counts("test") == (451, 205)
    assert elpv.counts("val") == (180, 82)


def test_elpv_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        open_dataset("elpv")
    assert caught.value.hint == "pip install '.[elpv]' in your clone of mobilenets"


def test_the_fingerprint_notices_sizes_labels_splits_and_names(tmp_path: Path) -> None:
    dataset = open_dataset(pets(tmp_path / "pets"))
    first = fingerprint(dataset)
    assert len(first) == 64
    assert first == fingerprint(open_dataset(tmp_path / "pets"))
    assert first == fingerprint(dataclasses.replace(dataset, samples=dataset.samples[::-1]))
    assert first != fingerprint(open_dataset(tmp_path / "pets", seed=1))
    assert first != fingerprint(dataclasses.replace(dataset, labels=("cat", "wolf")))
    assert first != fingerprint(dataclasses.replace(dataset, samples=dataset.samples[1:]))
    (tmp_path / "pets" / "cat" / "3.png").write_bytes(b"other")
    assert first == fingerprint(dataset)  # as it was opened
    assert first != fingerprint(open_dataset(tmp_path / "pets"))
    (tmp_path / "pets" / "cat" / "3.png").unlink()
    assert len(fingerprint(dataset)) == 64
    unmeasured = tuple(dataclasses.replace(sample, size_bytes=None) for sample in dataset.samples)
    assert first != fingerprint(dataclasses.replace(dataset, samples=unmeasured))


def test_the_fingerprint_does_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    one = open_dataset(pets(tmp_path / "one" / "pets"))
    os.rename(tmp_path / "one", tmp_path / "two")  # noqa: PTH104  # a folder with content
    assert fingerprint(open_dataset(tmp_path / "two" / "pets")) == fingerprint(
        dataclasses.replace(
            one, samples=tuple(dataclasses.replace(s, path=tmp_path / "two" / "pets" / s.name) for s in one.samples)
        )
    )


def test_a_format_of_ones_own_is_a_record_in_a_table_that_is_passed_on(tmp_path: Path) -> None:
    """As `readers.format` describes: a toy layout whose classes are in the names of files, dog_1.png."""

    def fits(source: Source) -> bool:
        return source.tree is not None and "toy.txt" in source.tree

    def read(source: Source, asked: Asked) -> Listing:
        assert source.tree is not None
        entries = tuple(Entry(source.path / name, name.partition("_")[0], name) for name in source.tree.images())
        return Listing(entries, in_order(entry.label for entry in entries), "toy")

    for name in ("dog_1.png", "dog_2.png", "cat_1.png"):
        (tmp_path / name).touch()
    (tmp_path / "toy.txt").touch()
    formats = Table("data format", {"toy": Format("a folder with toy.txt", fits, read), **FORMATS})
    dataset = open_dataset(tmp_path, val=0, test=0, formats=formats)
    assert (dataset.labels, [dataset.labels[sample.label] for sample in dataset.samples]) == (
        ("cat", "dog"),
        ["cat", "dog", "dog"],
    )
    with pytest.raises(DataError, match="3 images but no folder"):
        open_dataset(tmp_path)


def test_names_that_no_line_can_hold_are_escaped_and_their_files_still_open(tmp_path: Path) -> None:
    pets(tmp_path / "pets", 3)
    odd = tmp_path / "pets" / "cat" / "a\nb\u2028\udcff.png"
    odd.write_bytes(b"odd")
    dataset = open_dataset(tmp_path / "pets", val=0, test=0)
    (sample,) = (sample for sample in dataset.samples if sample.read() == b"odd")
    assert sample.name == "cat/a\\nb\\u2028\\xff.png"
    write_splits(dataset, tmp_path / "splits.csv")
    again = open_dataset(tmp_path / "splits.csv")
    assert {one.name: one.read() for one in again.samples} == {one.name: one.read() for one in dataset.samples}


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_folder_one_is_in(name: str) -> None:
    with pytest.raises(DataError, match="name of a dataset is empty"):
        open_dataset(name)


def test_labels_that_stand_for_a_missing_one_are_doubted(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    (tmp_path / "list.csv").write_text("path,label\n0.png,nan\n1.png,cat\n2.png,dog\n")
    messages = [fault.message for fault in open_dataset(tmp_path / "list.csv").faults]
    assert messages == ["the class 'nan' looks like a missing label, not a class"]


@pytest.mark.parametrize("kind", ["folder", "masks"])
def test_opening_fingerprints_and_leaks_stat_each_file_once(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ("images", "masks") if kind == "masks" else ("cat", "dog")
    for folder in folders:
        (tmp_path / folder).mkdir()
        for i in range(4):
            Image.new("L", (8, 8), i % 2).save(tmp_path / folder / f"{i}.png")
    calls: Counter[str] = Counter()
    for name in ("stat", "lstat"):
        own = getattr(os, name)

        def counted(path: Any, *arguments: Any, own: Any = own, **options: Any) -> Any:
            calls[os.fspath(path) if not isinstance(path, int) else ""] += 1
            return own(path, *arguments, **options)

        monkeypatch.setattr(os, name, counted)
    dataset = open_dataset(tmp_path)
    first = fingerprint(dataset)
    copied_leaks(dataset)
    assert fingerprint(dataset) == first
    monkeypatch.undo()
    images = {path: count for path, count in calls.items() if path.endswith(".png")}
    assert len(images) == 8
    assert set(images.values()) == {1}

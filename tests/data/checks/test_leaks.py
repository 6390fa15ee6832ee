"""Images in two splits are counted for the split that is measured on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.cli import train_start
from mobilenets.data.checks.codes import CODES, CURES, WRITTEN
from mobilenets.data.checks.leaks import Leak, copied_leaks, leaks
from mobilenets.data.samples import Dataset, Sample, Split


def dataset(folder: Path, *rows: tuple[str, Split, bytes]) -> Dataset:
    samples = []
    for name, split, data in rows:
        (folder / name).write_bytes(data)
        samples.append(Sample(folder / name, 0, split, name=name))
    return Dataset(("a",), tuple(samples))


def test_a_copy_counts_for_each_pair_of_splits_it_stands_in(tmp_path: Path) -> None:
    data = dataset(
        tmp_path,
        ("1", "train", b"same"),
        ("2", "test", b"same"),
        ("3", "test", b"same"),
        ("4", "val", b"same"),
        ("5", "test", b"size"),
        ("6", "train", b"other"),
    )
    assert copied_leaks(data) == (
        Leak("test", "train", ("2", "3"), 3),
        Leak("test", "val", ("2", "3"), 3),
        Leak("val", "train", ("4",), 1),
    )


def test_copies_inside_one_split_are_no_leak(tmp_path: Path) -> None:
    assert copied_leaks(dataset(tmp_path, ("1", "train", b"same"), ("2", "train", b"same"), ("3", "test", b"size"))) == ()


def test_only_files_of_one_size_in_two_splits_are_read(tmp_path: Path) -> None:
    data = dataset(tmp_path, ("1", "train", b"aa"), ("2", "test", b"bbb"), ("3", "test", b"bbb"))
    for path in ("1", "2", "3"):
        (tmp_path / path).chmod(0)
    assert copied_leaks(data) == ()


def test_a_file_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    data = dataset(tmp_path, ("1", "train", b"aa"), ("2", "test", b"aa"))
    shutil.move(tmp_path / "2", tmp_path / "elsewhere")
    assert copied_leaks(data) == ()


def test_sets_that_look_the_same_are_leaks_too(tmp_path: Path) -> None:
    data = dataset(tmp_path, ("1", "train", b"a"), ("2", "test", b"b"), ("3", "test", b"c"))
    (leak,) = leaks(data, [("1", "2"), ("3",)])
    assert str(leak) == "1 of 2 test images is also in train"


def test_every_error_has_a_cure() -> None:
    errors = {code for code, (level, _) in CODES.items() if level == "error"}
    assert errors == CURES.keys() | WRITTEN
    assert not CURES.keys() & WRITTEN


def test_a_training_is_warned_of_copies_and_of_each_kind_of_finding_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = []
    for i in range(24):
        path = tmp_path / f"{i}.jpg"
        Image.new("RGB", (64, 64), (10 * i, 0, 0)).save(path, "PNG")
        samples.append(Sample(path, i % 2, ("train", "train", "val", "test")[i % 4], name=path.name))
    shutil.copy(tmp_path / "0.jpg", tmp_path / "3.jpg")
    assert train_start.checked(Dataset(("a", "b"), tuple(samples)), skip_bad=False, main=True).samples == tuple(samples)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "PNG" in line or "extension" in line] == [
        "warning: 0.jpg: is PNG, but its name says JPEG",
        "warning: 1.jpg: is PNG, but its name says JPEG",
        "warning: and 22 more files with the extension of another format",
    ]
    assert any(line.startswith("warning: 1 of 6 test images is also in train, so results on test") for line in lines)

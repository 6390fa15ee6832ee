"""`check` names what is wrong, on files broken by hand."""

from __future__ import annotations

import os
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.data.checks.check import CODES, Findings, check, cleaned, quick_check, without
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.writers.lists import write_list


def photo(path: Path, seed: int, size: tuple[int, int] = (300, 260), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).save(path, **options)  # type: ignore[arg-type]  # any format's
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for k, label in enumerate(("cat", "dog")):
        for i in range(10):
            photo(tmp_path / label / f"{i}.jpg", 100 * k + i)
    return tmp_path


def found(findings: Findings) -> dict[str, list[tuple[str, ...]]]:
    result: dict[str, list[tuple[str, ...]]] = {}
    for item in findings.items:
        assert item.level == CODES[item.code][0]
        result.setdefault(item.code, []).append(item.files)
    return result


def test_nothing_is_wrong_with_good_images(pets: Path) -> None:
    calls: list[int] = []
    findings = check(open_dataset(pets), advance=calls.append)
    assert findings.items == ()
    assert (findings.images, sum(calls), findings.formats) == (20, 20, {"JPEG": 20})
    assert set(findings.sizes) == {(300, 260)}


def bomb(path: Path) -> None:
    body = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    )


BREAKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "not-an-image": lambda path: path.write_text("<!DOCTYPE html><title>404</title>"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-2000]),
    "damaged": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "bomb": bomb,
    "extension": lambda path: photo(path, 77, format="PNG"),
}


@pytest.mark.parametrize("code", BREAKS)
def test_each_kind_of_broken_file_is_told(pets: Path, code: str) -> None:
    dataset = open_dataset(pets)
    BREAKS[code](pets / "cat" / "3.jpg")
    whole = check(dataset)
    assert found(whole)[code] == [("cat/3.jpg",)]
    assert whole.broken == (frozenset() if code == "extension" else {"cat/3.jpg"})
    assert (code in found(quick_check(dataset))) == (code != "truncated")


def test_a_truncated_member_of_a_shard_is_told(pets: Path) -> None:
    with tarfile.open(pets / "a.tar", "w") as file:
        for i, name in enumerate(("cat/0.jpg", "dog/0.jpg")):
            file.add(pets / name, f"{i}.jpg")
            (pets / "label").write_text(str(i))
            file.add(pets / "label", f"{i}.cls")
    dataset = open_dataset(pets / "a.tar")
    (pets / "a.tar").write_bytes((pets / "a.tar").read_bytes()[: dataset.samples[1].member[0] + 4000])  # type: ignore[index]  # in a tar
    assert found(check(dataset))["truncated"] == [("1.jpg",)]


def given(root: Path, *rows: tuple[str, str, str]) -> Dataset:
    (root / "list.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    return open_dataset(root / "list.csv")


ROWS = [(f"{label}/{i}.jpg", label, ("train", "val", "test")[i % 3]) for label in ("cat", "dog") for i in range(10)]


def test_the_same_file_in_two_splits_is_a_leak(pets: Path) -> None:
    shutil.copy(pets / "cat" / "0.jpg", pets / "cat" / "copy.jpg")
    findings = check(given(pets, *ROWS, ("cat/copy.jpg", "cat", "test")))
    assert found(findings) == {"leak": [("cat/0.jpg", "cat/copy.jpg")]}
    assert findings.items[0].message == "are the same file and are in train and test"


def test_the_same_file_with_two_labels_is_a_conflict(pets: Path) -> None:
    shutil.copy(pets / "cat" / "0.jpg", pets / "dog" / "copy.jpg")
    assert found(check(given(pets, *ROWS, ("dog/copy.jpg", "dog", "train")))) == {"conflict": [("cat/0.jpg", "dog/copy.jpg")]}


@pytest.mark.parametrize(
    ("label", "split", "code"),
    [("cat", "train", "near-duplicate"), ("cat", "val", "near-leak"), ("dog", "train", "near-conflict")],
)
def test_an_image_saved_again_looks_the_same(pets: Path, label: str, split: str, code: str) -> None:
    Image.open(pets / "cat" / "0.jpg").resize((250, 200)).save(pets / "again.png")
    findings = check(given(pets, *ROWS, ("again.png", label, split)))
    assert found(findings) == {code: [("cat/0.jpg", "again.png")]}
    assert findings.same == (("cat/0.jpg", "again.png"),)


def test_the_same_file_twice_in_one_split_is_a_warning(pets: Path) -> None:
    shutil.copy(pets / "cat" / "0.jpg", pets / "cat" / "copy.jpg")
    assert found(check(given(pets, *ROWS, ("cat/copy.jpg", "cat", "train")))) == {"duplicate": [("cat/0.jpg", "cat/copy.jpg")]}


def messages(dataset: Dataset) -> dict[str, str]:
    return {item.code: item.message for item in check(dataset).items if item.code not in ("missing", "small")}


def test_classes_that_cannot_be_learned_or_measured(pets: Path) -> None:
    rows = [*ROWS, ("cat/0.jpg", "cat", "train")]
    for i in range(3):
        photo(pets / f"owl{i}.jpg", 900 + i)
    assert messages(given(pets, *rows, ("owl0.jpg", "owl", "test"))) == {
        "untrained": "'owl' has 1 image, and none in train",
        "absent": "'owl' has no image in val, of 1",
        "few": "'owl' has 1 image; at least 5 are needed",
    }


def test_labels_that_are_captions_or_numbers_are_doubted(tmp_path: Path) -> None:
    rows = [f"{photo(tmp_path / f'{i}.jpg', i).name},{i * 1.37:.2f}\n" for i in range(12)]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(rows))
    doubts = [item for item in check(open_dataset(tmp_path / "list.csv")).items if item.code == "own-labels"]
    assert [item.message for item in doubts] == ["12 of 12 labels occur once; are they captions, names, or numbers to predict?"]


def test_imbalance_is_said_with_its_ratio(tmp_path: Path) -> None:
    rows = [(str(photo(tmp_path / f"{i}.jpg", i)), "common" if i >= 5 else "rare", "train") for i in range(60)]
    given(tmp_path, *rows)
    assert messages(open_dataset(tmp_path / "list.csv", val=0)) == {
        "imbalance": "'common' has 55 training images, 'rare' 5: 11 times as many"
    }


def test_one_class_is_not_enough(pets: Path) -> None:
    shutil.rmtree(pets / "dog")
    assert "one-class" in messages(open_dataset(pets))


def test_a_broken_image_does_not_count_for_its_class(pets: Path) -> None:
    dataset = given(pets, *ROWS)
    for name, label, split in ROWS:
        if (label, split) == ("cat", "train"):
            (pets / name).write_bytes(b"")
    assert [item.code for item in quick_check(dataset).items][-1] == "untrained"


def test_no_training_image(pets: Path) -> None:
    dataset = open_dataset(pets, val=0, test=1)
    assert [item.code for item in quick_check(dataset).items] == ["no-training"]


def test_small_long_and_blank_images(pets: Path) -> None:
    photo(pets / "cat" / "tiny.jpg", 500, (111, 400))
    photo(pets / "cat" / "long.jpg", 501, (1201, 300))
    Image.new("RGB", (300, 300), (9, 9, 9)).save(pets / "dog" / "blank.jpg")
    assert found(check(open_dataset(pets))) == {
        "small": [("cat/tiny.jpg",)],
        "long": [("cat/long.jpg",)],
        "blank": [("dog/blank.jpg",)],
    }
    assert "small" not in found(check(open_dataset(pets), size=222))


def test_values_of_12_bits_in_a_color_file_of_16_are_almost_black(pets: Path) -> None:
    values = np.broadcast_to(np.linspace(0, 4095, 300).astype(">u2")[:, None, None], (300, 300, 3))
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 300, 300, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    png = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (pets / "dog" / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    assert found(check(open_dataset(pets))) == {"dark": [("dog/scan.png",)]}


def test_files_between_the_images(pets: Path) -> None:
    shutil.copy(pets / "cat" / "0.jpg", pets / "cat" / "0.image")
    (pets / "cat" / "notes.txt").write_text("hello")
    assert found(check(open_dataset(pets))) == {
        "hidden": [(str(pets / "cat" / "0.image"),)],
        "ignored": [(str(pets / "cat" / "notes.txt"),)],
    }


def test_a_cleaned_list_can_be_trained_on(pets: Path) -> None:
    (pets / "cat" / "1.jpg").write_bytes(b"")
    Image.open(pets / "cat" / "2.jpg").save(pets / "cat" / "2b.png")
    shutil.copy(pets / "cat" / "3.jpg", pets / "dog" / "3c.jpg")
    dataset = open_dataset(pets)
    write_list(cleaned(dataset, check(dataset)), pets / "clean.csv")
    again = open_dataset(pets / "clean.csv")
    assert {s.name for s in dataset.samples} - {s.name for s in again.samples} == {"cat/1.jpg", "cat/3.jpg", "dog/3c.jpg"}
    assert {s.name: s.group for s in again.samples if s.group} == dict.fromkeys(
        ("cat/2.jpg", "cat/2b.png"), "same as cat/2.jpg"
    )
    assert check(again).at("error") == ()


def test_groups_that_share_an_image_are_joined() -> None:
    samples = tuple(
        Sample(Path(name), 0, "train", group=group, name=name)
        for name, group in zip("abcde", ("x", "y", "y", "", ""), strict=True)
    )
    findings = Findings((), 5, frozenset(), (), {}, same=(("a", "b"), ("c", "d")))
    assert [s.group for s in cleaned(Dataset(("l",), samples), findings).samples] == ["x", "x", "x", "x", ""]


def test_without_leaves_the_rest(pets: Path) -> None:
    dataset = open_dataset(pets)
    assert [s.name for s in dataset.samples if s not in without(dataset, ["cat/0.jpg"]).samples] == ["cat/0.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_and_devices_in_a_list_neither_block_nor_fill_the_memory(pets: Path) -> None:
    os.mkfifo(pets / "pipe.jpg")
    dataset = given(pets, *ROWS, ("pipe.jpg", "cat", "train"), ("/dev/zero", "dog", "train"))
    for findings in (check(dataset), quick_check(dataset)):
        assert found(findings)["unreadable"] == [("pipe.jpg",), ("/dev/zero",)]

"""Tar shards: found again in place, written; the `webdataset` package is the oracle."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mobilenets.data.open import open_dataset
from mobilenets.data.readers import members as shard_members
from mobilenets.data.readers.shards import expand, read_shards
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.writers.shards import write_shards
from mobilenets.errors import DataError, UsageError


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]  # any mode
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def some(folder: Path, n: int = 7) -> Dataset:
    samples = []
    for i in range(n):
        path = folder / f"{i}.PNG"
        path.write_bytes(f"image {i}".encode())
        split = "test" if i == 3 else "train"
        samples.append(
            Sample(path, i % 2, split, weight=2.0 if i == 1 else 1.0, group="g" if i == 2 else "", name=f"ä\udcff.b/{i}.PNG")  # type: ignore[arg-type]  # a str of two
        )
    return Dataset(("zebra", "ant"), tuple(samples), "some")


def test_braces() -> None:
    assert expand("a-{0..2}.tar") == ["a-0.tar", "a-1.tar", "a-2.tar"]
    assert expand("{0..1}{08..09}") == ["008", "009", "108", "109"]
    assert expand("plain.tar") == ["plain.tar"]


def test_members_are_read_in_place(tmp_path: Path) -> None:
    shard = tar(
        tmp_path / "a.tar",
        {"x/1.jpg": b"one", "x/1.cls": b"5\n", "2.json": b'{"label": "cat", "weight": 2}', "2.png": b"two", "2.cls": b"9"},
    )
    dataset = open_dataset(shard, val=0, test=0)
    assert dataset.labels == ("5", "cat")
    assert [(s.name, s.read(), dataset.labels[s.label], s.weight) for s in dataset.samples] == [
        ("x/1.jpg", b"one", "5", 1.0),
        ("2.png", b"two", "cat", 2.0),
    ]


def test_class_numbers_are_named_by_labels_txt(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.cls": b"1"})
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    listing = read_shards(str(tmp_path))
    assert listing.labels == ("cat", "dog")
    assert listing.entries[0].label == "dog"


@pytest.mark.parametrize("source", ["", "train-{000..001}.tar", "*.tar"])
def test_shards_by_folder_braces_and_glob(tmp_path: Path, source: str) -> None:
    for i in range(2):
        tar(tmp_path / f"train-{i:03d}.tar", {f"{i}.jpg": b"x", f"{i}.txt": b"cat"})
    dataset = open_dataset(f"{tmp_path}/{source}".rstrip("/"), val=0)
    assert [(s.name, s.split) for s in dataset.samples] == [("train-000.tar/0.jpg", "train"), ("train-001.tar/1.jpg", "train")]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    dataset = some(tmp_path)
    files = write_shards(dataset, tmp_path / "shards", per_shard=4)
    assert [file.name for file in files] == ["train-000000.tar", "train-000001.tar", "test-000000.tar"]
    again = open_dataset(tmp_path / "shards", val=0)
    assert again.labels == ("zebra", "ant")
    before = {(s.read(), s.label, s.split, s.weight, s.group) for s in dataset.samples}
    assert {(s.read(), s.label, s.split, s.weight, s.group) for s in again.samples} == before


def test_webdataset_reads_what_was_written(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    dataset = some(tmp_path)
    files = write_shards(dataset, tmp_path / "shards")
    theirs = list(webdataset.WebDataset([str(file) for file in files], shardshuffle=False))
    assert {(one["png"], int(one["cls"]), json.loads(one["json"])["name"]) for one in theirs} == {
        (s.read(), s.label, s.name) for s in dataset.samples
    }


def test_what_webdataset_wrote_is_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"k/{i}", "jpg": f"image {i}".encode(), "cls": i})
    listing = read_shards(str(tmp_path / "a.tar"))
    assert [entry.label for entry in listing.entries] == ["0", "1", "2", "3", "4"]
    assert [sample.read() for sample in open_dataset(tmp_path / "a.tar", val=0, test=0).samples] == [
        f"image {i}".encode() for i in range(5)
    ]


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.cls": b"0"}, "w:gz")
    with pytest.raises(DataError, match=r"a\.tar' is compressed with gzip, not a tar file"):
        read_shards(str(path))


def test_a_source_that_is_a_command_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for source in (f"pipe:touch {marker} #.tar", f"|touch {marker} #.tar"):
        with pytest.raises(DataError, match="there is no"):
            open_dataset(source)
        (tmp_path / "list.txt").write_text(f"{source}\n")
        with pytest.raises(DataError, match="there is no"):
            open_dataset(tmp_path / "list.txt")
    assert not marker.exists()


@pytest.mark.parametrize("place", ["at a header", "inside a header", "inside an image", "between the zeros"])
def test_a_shard_that_breaks_off_anywhere_is_named(tmp_path: Path, place: str) -> None:
    members = {f"{i}.{suffix}": data for i in range(3) for suffix, data in (("jpg", bytes([i + 1]) * 2000), ("cls", b"1"))}
    path = tar(tmp_path / "a.tar", members)
    with tarfile.open(path) as file:
        third, last = file.getmembers()[2], file.getmembers()[-1]
    ends = {
        "at a header": third.offset,
        "inside a header": third.offset + 100,
        "inside an image": third.offset_data + 100,
        "between the zeros": last.offset_data + 512 + 100,
    }
    path.write_bytes(path.read_bytes()[: ends[place]])
    with pytest.raises(DataError, match=r"a\.tar' is truncated"):
        read_shards(str(path))


def test_a_shard_with_a_damaged_header_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {f"{i}.{suffix}": b"1" for i in range(3) for suffix in ("jpg", "cls")})
    with tarfile.open(path) as file:
        third = file.getmembers()[2]
    data = bytearray(path.read_bytes())
    data[third.offset : third.offset + 512] = b"z" * 512
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar' is damaged: at byte 2,048"):
        read_shards(str(path))


@pytest.mark.parametrize(
    ("head", "found"),
    [(b"\x1f\x8b\x08", "compressed with gzip"), (b"PK\x03\x04", "a zip archive"), (b"<!DOCTYPE html>", "a web page")],
)
def test_what_is_only_called_a_tar_file_is_named(tmp_path: Path, head: bytes, found: str) -> None:
    (tmp_path / "x.tar").write_bytes(head + bytes(2000))
    with pytest.raises(DataError, match=f"x.tar' is {found}, not a tar file"):
        read_shards(str(tmp_path / "x.tar"))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.cls": b"0"})
    with tarfile.open(path, "a") as file:
        for name, data in (("1.jpg", b"two"), ("1.cls", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match=r"a\.tar' holds two members named '1\.jpg'"):
        read_shards(str(path))


def _with_link(path: Path, kind: bytes, target: str) -> Path:
    tar(path, {"a/1.png": b"one", "a/1.cls": b"cat"})
    with tarfile.open(path, "a") as file:
        info = tarfile.TarInfo("a/2.png")
        info.type, info.linkname = kind, target
        file.addfile(info)
        label = tarfile.TarInfo("a/2.cls")
        label.size = 3
        file.addfile(label, io.BytesIO(b"dog"))
    return path


@pytest.mark.parametrize(("kind", "target"), [(tarfile.LNKTYPE, "a/1.png"), (tarfile.SYMTYPE, "1.png")])
def test_a_link_stands_for_the_image_it_names(tmp_path: Path, kind: bytes, target: str) -> None:
    dataset = open_dataset(_with_link(tmp_path / "s-0.tar", kind, target), val=0, test=0)
    assert [sample.read() for sample in dataset.samples] == [b"one", b"one"]


@pytest.mark.parametrize("target", ["a/0.png", "/etc/hostname", "../1.png"])
def test_a_link_to_what_is_not_in_the_shard_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(DataError, match=r"'a/2\.png' is a link to '.*', whose content is not in the shard before it"):
        open_dataset(_with_link(tmp_path / "s-0.tar", tarfile.SYMTYPE, target))


def test_a_key_with_two_images_is_said(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.left.png": b"two", "1.cls": b"0", "2.jpg": b"x", "2.cls": b"1"})
    listing = read_shards(str(path))
    assert len(listing.entries) == 2
    assert listing.notes == ("1 key holds more than one image, of which the first is read, such as '1.jpg' of a.tar",)


@pytest.mark.parametrize("pattern", ["{0..999999999}", "{0..9999}{0..9999}", "{0.." + "9" * 200 + "}"])
def test_a_pattern_for_too_many_shards_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(DataError, match="shards") as caught:
        open_dataset(f"a-{pattern}.tar")
    assert "100,000" in caught.value.hint


def test_a_list_that_names_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("list.txt\n")
    with pytest.raises(DataError):
        open_dataset(tmp_path / "list.txt")


@pytest.mark.parametrize("text", ["cat\ndog", "cat\r\ndog\r\n", "\ufeffcat\ndog\n"])
def test_labels_txt_may_have_any_line_ends(tmp_path: Path, text: str) -> None:
    tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.cls": b"1"})
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert read_shards(str(tmp_path)).labels == ("cat", "dog")


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"0.cls": b"1", "0.jpg": bytes(9000)})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"a\.tar' (is truncated|cannot be read)"):
        read_shards(str(path))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"1.jpg": b"x"}, r"'a\.tar/1\.jpg' has no label"),
        ({"1.jpg": b"x", "1.json": b"{"}, "cannot be read"),
        ({"1.jpg": b"x", "1.json": b"[" * 100_000 + b"]" * 100_000}, "nested more than 100 deep"),
        ({"1.jpg": b"x", "1.json": b"[1]"}, "not an object"),
        ({"1.jpg": b"x", "1.json": b'{"label": 1, "split": "x"}'}, "has the split 'x'"),
        ({"1.jpg": b"x", "1.json": b'{"label": 1, "weight": "x"}'}, "weight 'x'"),
        ({"notes": b"x"}, "holds no image"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=words):
        read_shards(str(tmp_path / "a.tar"))


def test_a_kept_index_that_nests_too_deep_is_made_anew_and_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    index, deep = tmp_path / "index.json", "[" * 100_000 + "]" * 100_000
    index.write_text(f'{{"mark": [1], "keys": {deep}}}')
    assert shard_members._kept(index, [1]) is None
    index.write_text(r'{"mark": [1], "keys": [["\udcff/0001", ".jpg"]]}')
    assert shard_members._kept(index, [1]) == [shard_members.Key("\udcff/0001", ".jpg")]


def test_a_class_number_beyond_the_labels_is_named(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"2"})
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"the class 2, but labels\.txt names 2 classes"):
        read_shards(str(tmp_path))


def test_a_missing_shard_of_a_pattern_is_named(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", {"1.jpg": b"x", "1.cls": b"2"})
    with pytest.raises(DataError, match=r"no shard '.*1\.tar'"):
        open_dataset(f"{tmp_path}/{{0..1}}.tar")


def test_writing_refuses_a_folder_with_shards(tmp_path: Path) -> None:
    write_shards(some(tmp_path), tmp_path / "s")
    with pytest.raises(DataError, match="already contains shards"):
        write_shards(some(tmp_path), tmp_path / "s")
    with pytest.raises(UsageError, match="0 images"):
        write_shards(some(tmp_path), tmp_path / "t", per_shard=0)


def test_damaged_headers_end_in_words_or_images(tmp_path: Path) -> None:
    good = tar(
        tmp_path / "a.tar", {f"{i}.{e}": d for i in range(3) for e, d in (("jpg", bytes(700)), ("cls", b"1"))}
    ).read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        data = bytearray(good)
        header = 512 * int(random.integers(len(data) // 512))
        field = header + int(random.choice((0, 100, 124, 130, 156, 257)))
        data[field : field + 4] = bytes(random.choice((0, 0x80, 0xFF, 48, 55), 4).tolist())
        data[header + 148 : header + 156] = b" " * 8
        data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])  # the checksum fits
        (tmp_path / "a.tar").write_bytes(data)
        try:
            outcomes.add(len(read_shards(str(tmp_path / "a.tar")).entries))
        except DataError as error:
            outcomes.add(-1 if "a.tar" in str(error) else -2)
    assert {-1, 3} <= outcomes
    assert -2 not in outcomes

"""Tar shards: found again in place, streamed, written; the `webdataset` package is the oracle."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from mobilenets.data.open import open_dataset
from mobilenets.data.readers.shards import expand, read_shards, stream_shards, write_shards
from mobilenets.data.samples import Dataset, Sample
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
    assert [x[0] for x in stream_shards([str(tmp_path / "a.tar")])] == [f"image {i}".encode() for i in range(5)]


@pytest.mark.parametrize("scheme", ["", "file:", "pipe:cat "])
def test_a_stream_gives_image_label_and_name(tmp_path: Path, scheme: str) -> None:
    for i in range(2):
        tar(
            tmp_path / f"{i}.tar",
            {f"{i}.json": b'{"label": "cat"}', f"{i}.jpg": b"%d" % i, f"{i}b.jpg": b"b", f"{i}b.cls": b"7"},
        )
    assert list(stream_shards([f"{scheme}{tmp_path}/{{0..1}}.tar"])) == [
        (b"0", "cat", "0.jpg"),
        (b"b", "7", "0b.jpg"),
        (b"1", "cat", "1.jpg"),
        (b"b", "7", "1b.jpg"),
    ]


def test_a_compressed_shard_can_be_streamed_but_not_read_in_place(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.cls": b"0"}, "w:gz")
    assert list(stream_shards([str(path)])) == [(b"one", "0", "1.jpg")]
    with pytest.raises(DataError, match="cannot be read"):
        read_shards(str(path))


def test_a_broken_stream_gives_what_was_whole_and_then_says_so(tmp_path: Path) -> None:
    members = {f"{i}.{suffix}": data for i in range(3) for suffix, data in (("jpg", bytes(2000)), ("cls", b"1"))}
    path = tar(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes()[:8000])
    seen: list[str] = []
    with pytest.raises(DataError, match=r"a\.tar' breaks off"):
        seen.extend(name for _, _, name in stream_shards([str(path)]))
    assert seen == ["0.jpg", "1.jpg"]


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(DataError, match="pipe:exit 3"):
        list(stream_shards(["pipe:exit 3"]))


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
    with pytest.raises(DataError, match="holds shards already"):
        write_shards(some(tmp_path), tmp_path / "s")
    with pytest.raises(UsageError, match="0 images"):
        write_shards(some(tmp_path), tmp_path / "t", per_shard=0)

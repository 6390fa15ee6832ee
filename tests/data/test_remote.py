"""Shards and images on a web server, one that gives parts of files and one that does not."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mobilenets.data import remote
from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.readers.lists import in_splits, read_splits, split_names, write_splits
from mobilenets.data.samples import Sample
from mobilenets.errors import DataError

Web = Any  # the fixture's server


def shard(path: Path, numbers: range, *, size: int = 3000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i in numbers:
            for suffix, data in ((".jpg", bytes([i]) * size), (".cls", str(i % 2).encode())):
                member = tarfile.TarInfo(f"{i:04d}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def two(web: Web) -> str:
    """The address of two shards of five images each."""
    for k in range(2):
        shard(web.folder / "set" / f"a-{k}.tar", range(5 * k, 5 * k + 5))
    return f"{web.url}/set/a-{{0..1}}.tar"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_remote_set_is_the_local_one(web: Web, two: str, ranges: bool) -> None:
    (web.folder / "set" / "labels.txt").write_text("cat\ndog\n")
    web.ranges = ranges
    local, there = open_dataset(web.folder / "set"), open_dataset(two)
    assert (there.labels, there.name) == (("cat", "dog"), "set")
    assert fingerprint(there) == fingerprint(local)
    assert [sample.read() for sample in there.samples] == [sample.read() for sample in local.samples]


def test_an_image_is_asked_for_by_its_place(web: Web, two: str) -> None:
    sample = open_dataset(two).samples[3]
    web.asked.clear()
    assert sample.read() == bytes([3]) * 3000
    assert sample.member is not None
    offset = sample.member[0]
    assert web.asked == [("/set/a-0.tar", f"bytes={offset}-{offset + 2999}")]


@pytest.mark.parametrize(("impatient", "connections"), [(False, 1), (True, 10)])
def test_a_connection_serves_many_images(web: Web, two: str, impatient: bool, connections: int) -> None:
    samples = open_dataset(two).samples
    web.connections, web.impatient = 0, impatient
    with ThreadPoolExecutor(1) as thread:
        assert [data[0] for data in thread.map(Sample.read, samples)] == list(range(10))
    assert web.connections == connections


def test_a_shard_that_moved_is_followed(web: Web, two: str) -> None:
    web.moved = {"/set/a-0.tar": "/set/a-1.tar"}
    assert [sample.read()[0] for sample in open_dataset(f"{web.url}/set/a-0.tar").samples] == [5, 6, 7, 8, 9]


def test_a_shard_is_looked_through_once(web: Web, two: str) -> None:
    first = open_dataset(two)
    web.asked.clear()
    assert open_dataset(two) == first
    assert sorted(asked for asked in web.asked if asked[0] != "/set/labels.txt") == [
        ("/set/a-0.tar", "bytes=0-511"),
        ("/set/a-1.tar", "bytes=0-511"),
    ]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_shard_that_changed_is_looked_through_again(web: Web, two: str, ranges: bool) -> None:
    web.ranges = ranges
    open_dataset(two)
    shard(web.folder / "set" / "a-0.tar", range(20, 25))
    again = open_dataset(two)
    assert [sample.read()[0] for sample in again.samples] == [20, 21, 22, 23, 24, 5, 6, 7, 8, 9]


def test_a_server_without_parts_is_asked_once_for_the_whole(web: Web, two: str) -> None:
    web.ranges = False
    samples = open_dataset(two).samples
    web.asked.clear()
    assert [sample.read()[0] for sample in samples] == list(range(10))
    assert web.asked == []
    remote.cache_file(samples[0].url, ".tar").unlink()
    assert [sample.read()[0] for sample in samples[:3]] == [0, 1, 2]
    assert web.asked[-1] == ("/set/a-0.tar", "")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_taken_up_again(web: Web, ranges: bool) -> None:
    web.ranges, web.cut = ranges, 700_000
    length = shard(web.folder / "a.tar", range(8), size=300_000).stat().st_size
    samples = open_dataset(f"{web.url}/a.tar").samples
    web.cut = 1000
    assert [sample.read() for sample in samples] == [bytes([i]) * 300_000 for i in range(8)]
    assert web.cut == (0 if ranges else 1000)
    assert (("/a.tar", f"bytes=700000-{length - 1}") in web.asked) == ranges


def test_a_busy_server_is_asked_again(web: Web, two: str) -> None:
    web.busy = 2
    sample = open_dataset(two).samples[0]
    web.busy = 4
    assert len(sample.read()) == 3000
    web.busy = 1000
    with pytest.raises(ConnectionError, match="503 Service Unavailable"):
        sample.read()


def test_what_a_server_does_not_have_is_said(web: Web, two: str) -> None:
    sample = open_dataset(two).samples[0]
    (web.folder / "set" / "a-0.tar").unlink()
    with pytest.raises(OSError, match="404 Not Found"):
        sample.read()
    with pytest.raises(DataError, match=r"shard '.*/set/a-0\.tar' cannot be read: the server answers 404 Not Found"):
        open_dataset(two)


def test_no_network_is_said() -> None:
    with pytest.raises(DataError, match="no answer from the server") as caught:
        open_dataset("http://127.0.0.1:9/a.tar")
    assert "network" in caught.value.hint


@pytest.mark.parametrize("address", ["http://", "http://[/a.tar", "http://a b/c.tar"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(DataError):
        open_dataset(address)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("data", [b"<html>" * 999, b"", bytes(10240)])
def test_what_is_no_shard_is_said(web: Web, ranges: bool, data: bytes) -> None:
    web.ranges = ranges
    (web.folder / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read|holds no image"):
        open_dataset(f"{web.url}/a.tar")


def test_an_address_that_is_no_shard_is_refused(web: Web) -> None:
    with pytest.raises(DataError, match="is not a dataset"):
        open_dataset(f"{web.url}/photos/")


def test_a_text_file_may_list_shards(web: Web, two: str, tmp_path: Path) -> None:
    shard(tmp_path / "here" / "b.tar", range(10, 12))
    (tmp_path / "here" / "shards.txt").write_text(f"# here and there\n{two}\n\nb.tar\n")
    dataset = open_dataset(tmp_path / "here" / "shards.txt")
    assert [sample.read()[0] for sample in dataset.samples] == list(range(12))


def test_splits_of_a_remote_set_are_read_back(web: Web, two: str, tmp_path: Path) -> None:
    dataset = open_dataset(two)
    write_splits(dataset, tmp_path / "splits.csv")
    again = read_splits(tmp_path / "splits.csv", labels=dataset.labels)
    assert again.samples == dataset.samples
    assert in_splits(open_dataset(two, seed=7), split_names(tmp_path / "splits.csv")).samples == dataset.samples


def test_a_list_may_name_addresses(web: Web, tmp_path: Path) -> None:
    (web.folder / "a.jpg").write_bytes(b"an image")
    (tmp_path / "list.csv").write_text(f"path,label\n{web.url}/a.jpg?key=x,cat\n")
    (sample,) = open_dataset(tmp_path / "list.csv", val=0, test=0).samples
    assert (sample.read(), sample.path) == (b"an image", Path("a.jpg"))

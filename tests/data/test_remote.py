"""Shards and images on a web server, one that gives parts of files and one that does not."""

from __future__ import annotations

import io
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from mobilenets.data import remote
from mobilenets.data.open import fingerprint, open_dataset
from mobilenets.data.readers.lists import in_splits, read_splits, split_names
from mobilenets.data.remote_cache import cache_file
from mobilenets.data.samples import Sample
from mobilenets.data.writers.lists import write_splits
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
def test_a_connection_serves_many_images(
    web: Web, two: str, impatient: bool, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = open_dataset(two).samples
    monkeypatch.setattr(remote, "_pools", remote._Pools())
    web.connections, web.impatient = 0, impatient
    with ThreadPoolExecutor(1) as thread:
        assert [data[0] for data in thread.map(Sample.read, samples)] == list(range(10))
    assert web.connections == connections


def test_a_shard_that_moved_is_followed(web: Web, two: str) -> None:
    web.moved = {"/set/a-0.tar": "/set/a-1.tar"}
    assert [sample.read()[0] for sample in open_dataset(f"{web.url}/set/a-0.tar").samples] == [5, 6, 7, 8, 9]


def test_a_single_quick_question_follows_redirects_too(web: Web, two: str) -> None:
    web.moved = {f"/{i}": f"/{i + 1}" for i in range(4)} | {"/4": "/set/a-1.tar", "/round": "/round"}
    length = (web.folder / "set" / "a-1.tar").stat().st_size
    assert remote.ask(f"{web.url}/0", timeout_s=5).length == length
    for timeout_s in (None, 5):
        with pytest.raises(OSError, match="redirects again and again"):
            remote.ask(f"{web.url}/round", timeout_s=timeout_s)


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
    cache_file(samples[0].url, ".tar").unlink()
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
    with pytest.raises(DataError, match=r"cannot be read|holds no image|is a web page, not a tar file"):
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


def forged(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
    return f"bytes {first}-{last}/{len(data)}", b"z" * (last + 1 - first), '"the same"'


def another_part(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
    return f"bytes 0-9/{len(data)}", data[:10], '"the same"'


def said_to_be_right(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
    return f"bytes {first}-{last}/{len(data)}", data[first + 512 : last + 513], '"the same"'


def without_a_range(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
    return "", data[first : last + 1], '"the same"'


@pytest.mark.parametrize("twist", [forged, another_part, said_to_be_right, without_a_range])
def test_wrong_bytes_are_never_taken(web: Web, two: str, twist: Any) -> None:
    samples = open_dataset(two).samples
    web.twist = twist
    for sample in samples:
        with pytest.raises(ConnectionError, match=r"not those that were indexed|was asked for the bytes"):
            sample.read()


def test_other_bytes_under_the_same_splits_are_noticed(web: Web, two: str, tmp_path: Path) -> None:
    dataset = open_dataset(two)
    write_splits(dataset, tmp_path / "splits.csv")
    shard(web.folder / "set" / "a-0.tar", range(20, 25))
    again = read_splits(tmp_path / "splits.csv", labels=dataset.labels)
    with pytest.raises(ConnectionError, match=r"a-0\.tar' are not those that were indexed"):
        again.samples[0].read()
    assert again.samples[5].read()[0] == 5
    assert open_dataset(two).samples[0].read()[0] == 20


def test_a_kept_shard_of_other_bytes_is_thrown_away(web: Web, two: str) -> None:
    web.ranges = False
    sample = open_dataset(two).samples[0]
    copy = cache_file(sample.url, ".tar")
    copy.write_bytes(b"z" * 20480)
    with pytest.raises(ConnectionError, match="not those that were indexed"):
        sample.read()
    assert not copy.exists()
    assert sample.read()[0] == 0


def test_a_shard_that_changes_while_it_is_indexed_is_refused(web: Web, two: str) -> None:
    asked: list[int] = []

    def changing(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
        asked.append(first)
        return f"bytes {first}-{last}/{len(data)}", data[first : last + 1], f'"{len(asked)}"'

    web.twist = changing
    with pytest.raises(DataError, match="changed on its server while it was being read"):
        open_dataset(f"{web.url}/set/a-0.tar")


def test_a_server_may_send_less_at_a_time(web: Web, two: str) -> None:
    def capped(first: int, last: int, data: bytes) -> tuple[str, bytes, str]:
        last = min(last, first + 999)
        return f"bytes {first}-{last}/{len(data)}", data[first : last + 1], '"the same"'

    samples = open_dataset(two).samples
    web.twist = capped
    assert samples[3].read() == bytes([3]) * 3000


def test_a_server_that_drips_is_given_up(web: Web, two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = open_dataset(two).samples[0]
    monkeypatch.setattr(remote, "PATIENCE_S", 0.1)
    web.drip_s = 0.02
    with pytest.raises(ConnectionError, match=r"too slow: \d+ bytes in 0 s"):
        sample.read()


def test_a_compressed_answer_is_refused(web: Web, two: str) -> None:
    sample = open_dataset(two).samples[0]
    web.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(OSError, match="compresses the file"):
        sample.read()


def test_no_server_asks_for_hours_of_patience() -> None:
    busy = urllib3.HTTPResponse(headers={"Retry-After": "86400"})
    assert remote._Retry(3).get_retry_after(busy) == 60


def test_a_file_larger_than_the_limit_is_not_read(web: Web) -> None:
    (web.folder / "a").write_bytes(bytes(5000))
    assert len(remote.read(f"{web.url}/a", most=5000)) == 5000
    with pytest.raises(OSError, match="more than 4,999 bytes"):
        remote.read(f"{web.url}/a", most=4999)
    with pytest.raises(OSError, match="at most 1,073,741,824"):
        remote.read_part(f"{web.url}/a", 0, 1 << 40)


def test_the_cache_has_a_limit_and_the_oldest_goes_first(web: Web, two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    web.ranges = False
    size = (web.folder / "set" / "a-0.tar").stat().st_size
    old = cache_file("http://elsewhere/old.tar", ".tar")
    old.parent.mkdir(parents=True)
    for age, path in ((9000, old), (5000, old.with_name("newer.tar"))):
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age,) * 2)
    monkeypatch.setenv("MOBILENETS_CACHE_GB", str(3.5 * size / 1e9))
    open_dataset(two)
    assert (old.exists(), old.with_name("newer.tar").exists()) == (False, True)
    monkeypatch.setenv("MOBILENETS_CACHE_GB", str(1.5 * size / 1e9))
    cache_file(f"{web.url}/set/a-0.tar", ".json").unlink()
    with pytest.raises(DataError, match=r"the limit is .* GB \(set MOBILENETS_CACHE_GB"):
        open_dataset(f"{web.url}/set/a-0.tar")
    monkeypatch.setenv("MOBILENETS_CACHE_GB", "much")
    with pytest.raises(DataError, match="MOBILENETS_CACHE_GB is 'much'"):
        open_dataset(f"{web.url}/set/a-0.tar")


def test_half_downloads_of_programs_that_were_killed_are_swept(web: Web, two: str) -> None:
    web.ranges = False
    folder = cache_file("", ".tar").parent
    folder.mkdir(parents=True)
    for age, name in ((200_000, ".a.tar.1-1.new"), (60, ".b.tar.2-2.new")):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    open_dataset(two)
    assert [path.name for path in folder.glob(".*")] == [".b.tar.2-2.new"]


def test_a_proxy_of_the_machine_is_used(web: Web, two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", web.url)
    with pytest.raises(DataError, match="404"):
        open_dataset("http://elsewhere.invalid/a.tar")
    assert web.asked[-1][0] == "http://elsewhere.invalid/a.tar"

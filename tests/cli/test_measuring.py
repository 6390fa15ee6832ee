"""Which images of a dataset a run has learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilenets.cli.measuring import learned_of
from mobilenets.data.samples import Dataset, Sample


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that learned from the first of two images."""
    (tmp_path / "run.json").write_text(json.dumps({"format": 2, "data": {"source": "/photos"}}))
    lines = ["path,label,split,weight,group,name,offset,size,checksum"]
    lines += [f"/photos/{name},a,{split},1,,{name},,," for name, split in (("0.jpg", "train"), ("1.jpg", "test"))]
    (tmp_path / "splits.csv").write_text("\n".join([*lines, ""]))
    return tmp_path


def test_images_on_a_web_server_are_the_same_by_their_address(run: Path) -> None:
    own = [Sample(Path(f"{i}.jpg"), 0, "train", name=f"{i}.jpg", url=f"https://example.org/{i}.jpg") for i in range(2)]
    others = [Sample(Path("x.jpg"), 0, "test", name=f"other/{i}", url=f"https://example.org/{i}.jpg") for i in range(3)]
    assert learned_of(others, Dataset(("a",), tuple(own), "photos"), run) == {"other/0"}


def test_copies_are_found_whatever_they_are_called(run: Path) -> None:
    for name, content in (("0.jpg", b"learned"), ("1.jpg", b"not yet"), ("copy.jpg", b"learned"), ("new.jpg", b"another")):
        (run / name).write_bytes(content)
    own = [Sample(run / name, 0, "train", name=name) for name in ("0.jpg", "1.jpg")]
    others = [Sample(run / name, 0, "test", name=name) for name in ("1.jpg", "copy.jpg", "new.jpg")]
    assert learned_of(others, Dataset(("a",), tuple(own), "photos"), run) == {"copy.jpg"}

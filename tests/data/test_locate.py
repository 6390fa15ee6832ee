"""The image that an annotation means is found whatever way its path is written, and never guessed among several."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.data.locate import Locator
from mobilenets.data.walk import scan
from mobilenets.errors import DataError


@pytest.fixture
def locator(tmp_path: Path) -> Locator:
    for name in (
        "images/train/a b.jpg",
        "images/train/1.jpg",
        "images/val/1.jpg",
        "images/only.PNG",
        "x%20y.jpg",
        "images/cafe\u0301.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return Locator(scan(tmp_path), ("", "images"))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("images/train/a b.jpg", "images/train/a b.jpg"),
        ("train/a b.jpg", "images/train/a b.jpg"),
        ("./train/a b.jpg", "images/train/a b.jpg"),
        ("train\\a b.jpg", "images/train/a b.jpg"),
        ("train/a%20b.jpg", "images/train/a b.jpg"),
        ("x%20y.jpg", "x%20y.jpg"),
        ("Train/A B.JPG", "images/train/a b.jpg"),
        ("D:\\work\\set\\images\\val\\1.jpg", "images/val/1.jpg"),
        ("/home/me/set/train/1.jpg", "images/train/1.jpg"),
        ("file:///home/me/only.png", "images/only.PNG"),
        ("only", "images/only.PNG"),
        ("caf\u00e9.jpg", "images/cafe\u0301.jpg"),  # macOS stores the accent as a character of its own
        ("D:\\set\\Caf\u00c9.jpg", "images/cafe\u0301.jpg"),
        ("1.jpg", "1.jpg"),  # two have this name
        ("test/1.jpg", "test/1.jpg"),  # its folder is neither train nor val
        ("other/only.png", "other/only.png"),
    ],
)
def test_a_path_is_read_as_it_is_meant(locator: Locator, tmp_path: Path, written: str, found: str) -> None:
    assert locator.find(written, "list.csv line 2") == tmp_path / found


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a\0.jpg", "line 2 has a path with a zero byte"),
        ("a" * 256, "line 2 has a path of 256 characters, longer than file systems allow"),
        ("\ud800.jpg", "line 2 has the path '.*' with characters that no file name has"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused(locator: Locator, written: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        locator.find(written, "list.csv line 2")

"""Text files are read in the encodings that people's programs write, and refused by file and line otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mobilenets.data.documents import read_json, read_xml, read_yaml
from mobilenets.data.text import class_name, finite, guess, number, read_text, shown
from mobilenets.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_western_text_is_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Mücke\r\nKäfer\rBär\n".encode(encoding))
    text = read_text(tmp_path / "a.txt")
    assert text.lines == ["Mücke", "Käfer", "Bär", ""]
    assert text.guessed == (encoding in ("utf-16-le", "utf-16-be", "cp1252"))


@pytest.mark.parametrize(
    ("text", "encoding", "guessed"),
    [
        ("汽车\n行人\n", "gbk", "gb18030"),
        ("Größe\nÄrger\n", "cp1252", "cp1252"),
        ("naïve café", "cp1252", "cp1252"),
        ("кошка\n", "cp1251", ""),
        ("ねこ", "shift-jis", ""),
    ],
)
def test_an_encoding_is_guessed_only_where_one_fits(text: str, encoding: str, guessed: str) -> None:
    assert guess(text.encode(encoding)) == guessed


def test_zero_bytes_and_broken_sequences_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"cat\ndo\0g, a line that is long enough for text\n")
    with pytest.raises(DataError, match=r"a.txt' line 2 has a zero byte"):
        read_text(path)
    path.write_bytes(b"\xef\xbb\xbfcat\n\xff\n")
    with pytest.raises(DataError, match=r"a.txt' line 2 is not valid UTF-8"):
        read_text(path)


def test_a_pipe_and_a_file_that_is_too_large_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match=r"pipe.txt' is not a regular file"):
        read_text(tmp_path / "pipe.txt")
    (tmp_path / "a.txt").write_bytes(b"12345")
    with pytest.raises(DataError, match="has 5 bytes; at most 4 are read"):
        read_text(tmp_path / "a.txt", most=4)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[" * 100_000, "is not valid JSON: the JSON is nested more than 100 deep"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "is not valid JSON: Exceeds the limit"),
        ("a.yaml", "a: " + "[" * 5000, "is nested too deeply"),
        ("a.yaml", "- " * 5000, "is nested too deeply"),
        ("a.yaml", BOMB, "has more than 200,000 values, aliases included"),
        ("a.yaml", "? [a]\n: b\n", "line 1 has a key that is not a plain word"),
        ("a.xml", "<a>" * 100, "is nested too deeply"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "defines XML entities, which are not read"),
        ("a.xml", '<?xml version="1.0" encoding="rot13"?><a/>', "line 1 declares the unknown encoding 'rot13'"),
    ],
)
def test_bombs_end_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    read = {"json": read_json, "yaml": read_yaml, "xml": read_xml}[name[2:]]
    with pytest.raises(DataError, match=f"a.{name[2:]}' {message}"):
        read(path)


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("names: {0: no, 1: 007, 2: 1e3, 3: 2024-01-01, 4: null, 5: ~}\nval:\n")
    assert read_yaml(tmp_path / "a.yaml") == {
        "names": {"0": "no", "1": "007", "2": "1e3", "3": "2024-01-01", "4": "null", "5": None},
        "val": None,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (" ", "an empty class name"),
        ("a\tb", r"the class name 'a\\tb' with the control character U\+0009"),
        ("a\u2028b", r"U\+2028"),
        ("\udcffa", "with bytes that are not UTF-8"),
        ("x" * 501, "of 501 characters; at most 500"),
    ],
)
def test_a_class_name_that_cannot_be_written_back_is_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=f"'a.csv' line 2 has .*{message}"):
        class_name(name, "'a.csv' line 2")


def test_numbers_are_finite_and_of_a_size_that_images_have() -> None:
    assert (finite("1.5", "x"), number(2), number(2.5)) == (1.5, 2, 2.5)
    assert all(value != value for value in (number(10**400), number(True), number("1"), number(float("inf"))))
    for text in ("1e300", "nan", "1_000", "9" * 200):
        with pytest.raises(DataError, match=r"x0 is .*, not a number"):
            finite(text, "x0")
    assert len(shown([[[["a"] * 100] * 100] * 100] * 100)) < 100

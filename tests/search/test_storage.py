from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mobilenets.errors import MissingExtraError, UsageError
from mobilenets.search.storage import Storage, StorageError, check_storage, without_password
from mobilenets.search.telling import Telling
from mobilenets.search.turns import Turns

pytest.importorskip("optuna")

SECRET = "tell/no:b@dy?"

# fmt: off
ADDRESSES = [
    ("postgresql://me@host/search",                               "postgresql://me@host/search"),
    ("postgresql:///search?host=/tmp",                            "postgresql:///search?host=/tmp"),
    ("postgresql://host:5432/search",                             "postgresql://host:5432/search"),
    (f"postgresql://me:{SECRET}@host:5432/search",                "postgresql://me@host:5432/search"),
    (f"postgresql+psycopg2://me:{SECRET}@host/search?sslmode=a",  "postgresql+psycopg2://me@host/search?sslmode=a"),
    ("postgresql://me@host/search?password=abc",                  "postgresql://me@host/search"),
    ("postgresql://me@host/search?password=abc&sslmode=require",  "postgresql://me@host/search?sslmode=require"),
    ("postgresql://me@host/search?sslmode=require&password=abc",  "postgresql://me@host/search?sslmode=require"),
    ("postgresql://:abc@host/search",                             "postgresql://@host/search"),
    ("sqlite:////tmp/a.db",                                       "sqlite:////tmp/a.db"),
]
# fmt: on


@pytest.mark.parametrize(("url", "shown"), ADDRESSES)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize(
    "url",
    [
        "search.db",
        "sqlite:///x.db",
        "mysql://me:abc@host/search",
        "postgresql:search",
        "postgresql://me:abc@host",
        "postgresql://me:abc@host:port/x",
    ],
)
def test_what_is_no_address_of_a_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_storage(url)
    assert "abc" not in str(refused.value)
    assert "postgresql://user@host/search" in refused.value.hint


def _opened(url: str, folder: Path) -> Turns:
    return Turns.opened(Storage(url), folder, Telling(), ["maximize"])


def test_a_server_that_is_not_there_is_named_in_one_line_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError) as refused:
        _opened("postgresql://me:abc-123@127.0.0.1:1/search", tmp_path)
    assert str(refused.value).startswith("the database postgresql://me@127.0.0.1:1/search cannot be used: ")
    assert "Connection refused" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "abc-123" not in str(refused.value)
    assert "is the server running" in refused.value.hint


def test_a_missing_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match="'psycopg', which is not installed") as missing:
        _opened("postgresql://me@127.0.0.1:1/search", tmp_path)
    assert "'.[search]'" in missing.value.hint


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database" * 200)
    with pytest.raises(StorageError, match=r"'study\.db' in the search's folder cannot be used: file is not a database"):
        _opened("", tmp_path)

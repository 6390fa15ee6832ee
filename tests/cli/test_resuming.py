"""One process at a time works in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import Done

from mobilenets.cli.resuming import the_only, unused
from mobilenets.errors import UsageError
from mobilenets.files import claimed

COMMANDS: dict[str, Sequence[str]] = {
    "benchmark": ("MODEL",),
    "predict": ("MODEL", "IMAGES", "--engine", "ray"),
    "quantize": ("MODEL", "--images", "IMAGES"),
    "search": ("IMAGES", "--start", "MODEL", "--max-macs", "1"),
    "train": ("IMAGES",),
}
"""Those that go on after a kill, or replace a folder after long work."""


def test_what_holds_nothing_at_the_end_is_removed_with_the_folders_above(tmp_path: Path) -> None:
    with the_only([tmp_path / "new" / "run"], "trains") as folder:
        assert folder.is_dir()
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="broken"), the_only([tmp_path / "mine" / "run"], "trains"):
        raise ValueError("broken")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with the_only([tmp_path / "mine"], "trains"):
        pass
    assert (tmp_path / "mine").is_dir()  # it was there before
    with the_only([tmp_path / "run"], "trains") as folder:
        (folder / "run.json").write_text("{}")
    assert (tmp_path / "run" / "run.json").is_file()


def test_of_several_folders_the_first_is_taken_that_is_unused_and_that_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run-2").write_text("a file")
    (tmp_path / "run-3").mkdir()  # as a process leaves it that was killed at its beginning
    with the_only(unused(tmp_path / "run"), "trains") as first, the_only(unused(tmp_path / "run"), "trains") as second:
        assert (first.name, second.name) == ("run-3", "run-4")


def test_a_folder_in_use_is_refused_in_words(tmp_path: Path) -> None:
    with (
        the_only([tmp_path], "trains"),
        pytest.raises(UsageError, match="is in use: another process trains there") as refused,
        the_only([tmp_path], "trains"),
    ):
        pass
    assert "wait until it ends" in refused.value.hint


@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_process_changes_nothing_in_a_folder_in_use(
    command: str, mobilenets: Callable[..., Done], segment_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()
    named = {"MODEL": str(segment_model), "IMAGES": str(tmp_path / "images")}
    with claimed(tmp_path / "out") as free:  # as a process does that works there
        assert free
        done = mobilenets(command, *(named.get(text, text) for text in COMMANDS[command]), "--out", tmp_path / "out")
    assert done.err.startswith(f"error: '{tmp_path / 'out'}' is in use: another process ")
    assert (done.code, done.out) == (2, "")
    assert not list((tmp_path / "out").iterdir())

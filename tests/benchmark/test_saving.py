"""Rows survive a kill: whole lines are read back, a line that was cut off is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.benchmark.row import Accuracy, Case, Row, from_flat, key_of, to_flat
from mobilenets.benchmark.saving import FILE, Saved

ROW = Row(Case("möbius", "a b/model.onnx", "onnx", "float32", 2, 8), p50_ms=1.5, rounds_ms=(1.5, 1.25), runs=3, group="1")


def test_a_row_reads_back_equal_from_one_level_of_json() -> None:
    assert from_flat(to_flat(ROW)) == ROW
    assert "case" not in to_flat(ROW)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    saved = Saved(tmp_path / "new")
    saved.read()
    saved.add_row("a", ROW)
    saved.add_accuracy("b", Accuracy("top1", 0.5, 0.4, None))
    again = Saved(tmp_path / "new")
    again.read()
    assert again.rows == {"a": ROW}
    assert again.accuracies == {"b": Accuracy("top1", 0.5, 0.4, None)}


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_line_that_a_kill_cut_off_is_skipped_and_the_next_begins_anew(tmp_path: Path, cut: int) -> None:
    saved = Saved(tmp_path)
    saved.add_row("a", ROW)
    saved.add_row("b", ROW)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:-cut])
    again = Saved(tmp_path)
    again.read()
    assert again.rows.keys() == ({"a", "b"} if cut == 1 else {"a"})  # one byte is the end of the line
    again.add_row("c", ROW)
    last = Saved(tmp_path)
    last.read()
    assert last.rows.keys() == again.rows.keys()


@pytest.mark.parametrize("line", ["[]", "3", '{"row_of": "a"}', '{"row_of": "a", "measured": {"model": 1}}', "\x00", ""])
def test_lines_that_are_no_rows_are_skipped(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    saved = Saved(tmp_path)
    saved.read()
    assert saved.rows == {}


def test_the_key_changes_with_content_version_and_settings() -> None:
    case = ROW.case
    keys = {key_of(case, "x", (3,)), key_of(case, "y", (3,)), key_of(case, "x", (4,))}
    keys.add(key_of(Case("möbius", "a b/model.onnx", "onnx", "float32", 2, 8, version="2"), "x", (3,)))
    assert len(keys) == 4
    assert key_of(Case("möbius", "elsewhere.onnx", "onnx", threads=2, batch=8), "x", (3,)) in keys

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilenets.search.latency import MUCH, NOTHING, Calibration, Device, LatencyError, LatencyTable, Whole

DEVICE = Device("a board", "onnx", "1.0")


def _whole(key: str, sum_ms: float, pieces: int, moved: float, weights: float, truth: Calibration) -> Whole:
    ms = truth.factor * sum_ms - truth.call_ms * (pieces - 1) - truth.move_ms * moved + truth.load_ms * weights
    return Whole(key, sum_ms, pieces, moved, weights, ms)


def test_before_anything_is_measured_whole_each_piece_costs_a_call_and_its_maps_less() -> None:
    table = LatencyTable(DEVICE)
    table.add({"a": 1.0, "b": 2.0, NOTHING: 0.25})
    assert table.predicted_ms(["a", "b", "a"], 0.5, 2.0) == pytest.approx(1 + 2 + 1 - 2 * 0.25)
    table.add({MUCH: 0.25 + 0.1 * 32 * 64 * 64 / 1e6})  # a tenth of a millisecond for a million numbers
    assert table.predicted_ms(["a", "b", "a"], 0.5, 2.0) == pytest.approx(1 + 2 + 1 - 2 * 0.25 - 0.5 * 0.1)


@pytest.mark.parametrize(
    "truth",
    [Calibration(1.2, 0.008, 0.0, 0.0), Calibration(0.8, 0.02, 0.1, 0.05), Calibration(1.0, 0.0, 0.3, 0.1)],
)
def test_whole_networks_correct_the_prediction(truth: Calibration) -> None:
    table, random = LatencyTable(DEVICE), np.random.default_rng(0)
    table.add({NOTHING: 0.01, MUCH: 0.06})
    for i in range(40):
        sum_ms, pieces, moved = random.uniform(1.5, 6), int(random.integers(14, 30)), random.uniform(0.5, 3)
        table.add_whole(_whole(str(i), sum_ms, pieces, moved, random.uniform(0.3, 5), truth))
    assert all(abs(error) < 0.03 for error in table.errors().values())
    unseen = _whole("unseen", 3.0, 22, 1.5, 2.5, truth)
    assert table.calibration().predicted_ms(3.0, 22, 1.5, 2.5) == pytest.approx(unseen.ms, rel=0.03)


def test_one_whole_network_is_believed_almost_wholly() -> None:
    table = LatencyTable(DEVICE)
    table.add({NOTHING: 0.01})
    table.add_whole(Whole("one", 1.0, 15, 0.0, 0.5, 1.3))
    assert abs(table.errors()["one"]) < 0.02


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = LatencyTable(DEVICE, tmp_path / "latency" / "onnx.jsonl")
    table.add({"a": 1.0})
    table.add({"b": 2.0})
    table.add_whole(Whole("net", 3.0, 2, 0.1, 0.2, 2.5))
    table.add_whole(Whole("net", 3.0, 2, 0.1, 0.2, 2.75))
    read = LatencyTable.read(tmp_path / "latency" / "onnx.jsonl")
    assert (read.device, read.ms, read.wholes["net"].ms) == (DEVICE, {"a": 1.0, "b": 2.0}, 2.75)
    table.saved_as(tmp_path / "copy.jsonl")
    copy = LatencyTable.read(tmp_path / "copy.jsonl")
    assert (copy.ms, copy.wholes) == (read.ms, read.wholes)


def test_a_line_that_a_kill_cut_off_is_skipped_and_the_next_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "onnx.jsonl"
    LatencyTable(DEVICE, path).add({"a": 1.0, "b": 2.0})
    path.write_bytes(path.read_bytes()[:-8])
    table = LatencyTable.read(path)
    assert table.ms == {"a": 1.0}
    table.add({"c": 3.0})
    assert LatencyTable.read(path).ms == {"a": 1.0, "c": 3.0}


def test_a_piece_that_the_table_lacks_is_said(tmp_path: Path) -> None:
    table = LatencyTable(DEVICE, tmp_path / "board.jsonl")
    table.add({"a": 1.0})
    with pytest.raises(LatencyError, match=r"board.jsonl' has no latency for 1 of 3 pieces of the network, such as 8x8x8 conv"):
        table.predicted_ms(["a", "8x8x8 conv", "8x8x8 conv"], 0.0, 0.0)


@pytest.mark.parametrize(
    "text", ["", "photos\n", '{"format": 1}\n', '{"format": 9, "device": {"machine": "m", "runtime": "onnx"}}\n']
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    with pytest.raises(LatencyError, match=r"other.jsonl"):
        LatencyTable.read(path)


def test_tables_of_other_versions_and_threads_are_other_files() -> None:
    names = {Device("m", "onnx", version, threads).file_name for version in ("1.0", "1.1") for threads in (1, 2)}
    assert len(names) == 4

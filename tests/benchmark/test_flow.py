"""Whole benchmarks on toy runtimes, whose speed and failures are known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.benchmark import flow
from mobilenets.benchmark.flow import Data, benchmark
from mobilenets.benchmark.measure import Settings, measured
from mobilenets.benchmark.plan import Asked
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.saving import FILE, Saved
from mobilenets.benchmark.timing import ratio
from mobilenets.benchmark.written import csv_table, table, to_data, write_plot
from mobilenets.runtime.machine import machine
from mobilenets.telling import Telling

QUICK = Settings(seconds=0.06, rounds=6, starts=1)
Write = Callable[..., str]


def test_a_run_that_takes_twice_as_long_is_measured_as_that(toys: str, nap: Write) -> None:
    """Bounds are wide where a busy machine makes a sleep longer."""
    cases = [Case("slow", nap(16), "nap"), Case("fast", nap(8), "nap"), Case("eight", nap(1), "nap", batch=8)]
    slow, fast, eight = measured(cases, Settings(seconds=0.3, rounds=6, starts=1, table=toys))
    assert slow.p50_ms is not None
    assert slow.p50_ms >= 16
    assert ratio(slow, fast).value == pytest.approx(2, rel=0.4)
    assert eight.p50_ms is not None
    assert eight.p50_ms >= 8
    assert eight.images_per_second is not None
    assert 0 < eight.images_per_second <= 1000
    assert slow.cpu_ms is not None
    assert slow.cpu_ms < 8  # it sleeps
    for row in (slow, fast, eight):
        assert len(row.rounds_ms) == 6
        assert row.case.precision == "float32"
        assert row.peak_bytes is not None
        assert row.baseline_bytes is not None
        assert row.peak_bytes >= row.baseline_bytes > 10e6
        assert row.cold_start_ms is not None
        assert row.cold_start_ms > 20


def test_a_row_that_cannot_run_says_why_and_the_others_go_on(toys: str, nap: Write, tmp_path: Path) -> None:
    files = [nap("damaged"), nap("crash"), nap(1), nap(1, "model.gone"), nap(1, "model.away")]
    asked = Asked(tuple(files), runtimes=("nap", "gone", "away"), table=toys)
    rows = {Path(row.case.file).name: row for row in benchmark(asked, tmp_path / "out", settings=QUICK)}
    assert rows["nap-damaged.nap"].error == "the file is damaged"
    assert rows["nap-crash.nap"].error.startswith("its process was ended by SIGILL (an instruction that this processor")
    assert rows["nap-crash.nap"].error.endswith("illegal instruction at 0x0")
    assert rows["model.gone"].error == "'no-such-package' is not installed: pip install '.[tflite]'"
    assert rows["model.away"].error == "Away does not run on this system"
    assert rows["nap-1.nap"].error == ""
    assert rows["nap-1.nap"].p50_ms is not None


@pytest.mark.slow
def test_every_runtime_of_the_table_that_reads_a_file_has_a_row_under_every_setting(
    toys: str, nap: Write, tmp_path: Path
) -> None:
    asked = Asked((nap(0),), threads=(1, 2), batches=(1, 3), table=toys)
    rows = list(benchmark(asked, tmp_path / "out", settings=QUICK))
    found = {(row.case.runtime, row.case.threads, row.case.batch) for row in rows}
    assert len(rows) == len(found) == 2 * 2 * 2
    assert {runtime for runtime, *_ in found} == {"nap", "doze"}
    only = Asked((nap(0), nap(0, "int8.nap")), runtimes=("doze",), precisions=("int8",), table=toys)
    rows = list(benchmark(only, tmp_path / "other", settings=QUICK))
    assert [row.case.runtime for row in rows if row.case.precision == "int8" and not row.error] == ["doze"]
    assert [row.error for row in rows if row.error] == ["no file of 'nap-0' is in int8; there is float32"]


def test_a_runtime_that_does_not_read_the_file_is_a_row_that_says_so(toys: str, nap: Write, tmp_path: Path) -> None:
    [row] = benchmark(Asked((nap(0),), runtimes=("gone",), table=toys), tmp_path / "out", settings=QUICK)
    assert row.error == "'nap-0' has nap-0.nap, which gone does not read"


def test_a_precision_that_no_file_has_is_a_row_that_says_so(toys: str, nap: Write, tmp_path: Path) -> None:
    asked = Asked((nap(0),), runtimes=("nap",), precisions=("int8",), table=toys)
    [row] = benchmark(asked, tmp_path / "out", settings=QUICK)
    assert (row.case.precision, row.error) == ("int8", "no file of 'nap-0' is in int8; there is float32")


def test_a_file_that_is_named_twice_is_measured_once(toys: str, nap: Write, tmp_path: Path) -> None:
    rows = list(benchmark(Asked((nap(0), nap(0)), table=toys), tmp_path, settings=QUICK))
    assert len({row.case for row in rows}) == len(rows)


def test_what_was_measured_is_not_measured_again(
    toys: str, nap: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked((nap(0),), table=toys)
    first = list(benchmark(asked, tmp_path, settings=QUICK))
    monkeypatch.setattr(flow, "measured", lambda cases, *rest, **more: iter([Row(case) for case in cases]))
    assert list(benchmark(asked, tmp_path, settings=QUICK)) == first
    nap("0.0", "nap-0.nap")  # other content
    assert all(row.p50_ms is None for row in benchmark(asked, tmp_path, settings=QUICK))


def test_accuracy_is_measured_by_the_evaluation_once_for_each_file_and_runtime(toys: str, nap: Write, tmp_path: Path) -> None:
    for name, color in {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}.items():
        for i in range(2):
            path = tmp_path / "photos" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20, 3), color, np.uint8)).save(path)
    Image.new("RGB", (20, 20), "lime").save(tmp_path / "photos" / "blue" / "wrong.png")
    asked = Asked((nap(0),), runtimes=("nap",), threads=(1, 2), table=toys)
    rows = list(benchmark(asked, tmp_path / "out", data=Data(str(tmp_path / "photos")), settings=QUICK))
    assert [row.metric for row in rows] == ["top1"] * 2
    assert [row.accuracy for row in rows] == pytest.approx([6 / 7] * 2)
    saved = Saved(tmp_path / "out")
    saved.read()
    assert len(saved.accuracies) == 1
    title, heads, lines = table(rows)
    assert title == "nap-0, batch 1"
    assert [dict(zip(heads, line, strict=True))["top1"] for line in lines] == ["85.71%", "85.71%"]
    assert write_plot(rows, tmp_path / "out") is not None


def test_data_of_other_classes_is_said_and_latency_is_measured_all_the_same(toys: str, nap: Write, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "pets" / name / "0.png")
    said: list[str] = []
    telling = Telling(said=said.append)
    asked = Asked((nap(0),), runtimes=("nap",), table=toys)
    [row] = benchmark(asked, tmp_path / "out", data=Data(str(tmp_path / "pets")), settings=QUICK, telling=telling)
    assert row.p50_ms is not None
    assert row.accuracy is None
    assert "no accuracy: the data has 'cat', 'dog', which the model does not know" in said[0]


def test_a_table_of_figures_in_json_and_csv_has_the_same_rows(toys: str, nap: Write, tmp_path: Path) -> None:
    rows = list(benchmark(Asked((nap(0), nap("damaged")), table=toys), tmp_path / "out", settings=QUICK))
    data = json.loads(json.dumps(to_data(rows, machine())))
    columns, lines = csv_table(rows)
    assert len(data["rows"]) == len(lines) == len(rows) == 4
    at = columns.index("p50_ms")
    assert [line[at] if line[at] != "" else None for line in lines] == [row["p50_ms"] for row in data["rows"]]


KILLED = """
import sys
from pathlib import Path
from mobilenets.benchmark.flow import benchmark
from mobilenets.benchmark.measure import Settings
from mobilenets.benchmark.plan import Asked
files, out = sys.argv[2:], Path(sys.argv[1])
settings = Settings(seconds=float(0.3), rounds=6, starts=1, live=1)
for row in benchmark(Asked(tuple(files), runtimes=("nap",), table="bench_toys:ENGINES"), out, settings=settings):
    print(row.case.model, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_rows_survive_a_kill_and_no_process_is_left_behind(toys: str, nap: Write, tmp_path: Path, how: signal.Signals) -> None:
    files = [nap(i, f"n{i}.nap") for i in (1, 2, 3, 4)]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "n1\n"
        time.sleep(0.3)  # it is in the middle of the second row
        children = _children(process.pid)
        process.send_signal(how)
        process.wait()
    deadline = time.monotonic() + 5
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_alive(child) for child in children)
    lines = (tmp_path / "out" / FILE).read_text().splitlines()
    asked = Asked(tuple(files), runtimes=("nap",), table=toys)
    settings = Settings(seconds=0.3, rounds=6, starts=1, live=1)
    rows = list(benchmark(asked, tmp_path / "out", settings=settings))
    assert [row.case.model for row in rows] == ["n1", "n2", "n3", "n4"]
    assert (tmp_path / "out" / FILE).read_text().splitlines()[: len(lines)] == lines


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"

"""Android devices, with a script in place of `adb` that replays what the programs print."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from mobilenets.benchmark.adb import FOLDER, Phone, measured_on, phone, tool_file
from mobilenets.benchmark.elsewhere import benchmark_on_phone
from mobilenets.benchmark.measure import Settings
from mobilenets.benchmark.plan import Asked
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.tools import TOOLS, Call, ToolError, read_litert, read_onnx
from mobilenets.benchmark.written import table
from mobilenets.runtime.engines.table import named


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the script that stands in for `adb`; its `scenario` says what goes wrong."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "adb"
    script.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("fake_adb.py").read_text())
    script.chmod(0o755)
    (folder / "scenario").write_text("fine")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A file for each runtime that has a program, and the programs."""
    made = {name: tmp_path / f"model.{name}" for name in TOOLS}
    made |= {TOOLS[name].program: tmp_path / f"android_aarch64_{TOOLS[name].program}" for name in TOOLS}
    for path in made.values():
        path.write_bytes(b"x" * 100)
    return made


def rows_of(device: Phone, files: dict[str, Path], cases: list[Case]) -> list[Row]:
    tools = {name: files[TOOLS[name].program] for name in TOOLS}
    return list(measured_on(device, cases, tools, seconds=3, rounds=3))


def test_every_program_is_that_of_a_runtime_of_the_table() -> None:
    assert set(TOOLS) <= set(named())


def test_the_programs_run_in_turn_and_their_figures_become_rows(adb: Path, files: dict[str, Path]) -> None:
    cases = [Case("m", str(files["tflite"]), "tflite", threads=4), Case("m", str(files["onnx"]), "onnx", threads=2, batch=8)]
    by_litert, by_onnx = rows_of(phone(), files, cases)
    assert by_litert.case.machine == by_onnx.case.machine == "Toy Phone 3"
    assert (by_litert.p50_ms, by_litert.p90_ms, by_litert.runs) == (12.0, None, 3 * 51)
    assert (by_litert.open_ms, by_litert.first_run_ms, by_litert.peak_bytes) == (21.5, 31.25, 24_500_000)
    assert by_litert.fast_path == 60 / 64
    assert by_litert.rounds_ms == (12.0, 12.0, 12.0)
    assert by_litert.images_per_second == pytest.approx(1000 / 12)
    assert (by_onnx.p50_ms, by_onnx.p90_ms, by_onnx.runs) == (15.5, 17.2, 3 * 64)
    assert (by_onnx.open_ms, by_onnx.peak_bytes, by_onnx.file_bytes) == (83.2, 71_303_168, 100)
    assert by_onnx.images_per_second == pytest.approx(8 * 1000 / 15.5)
    calls = (adb / "calls").read_text().splitlines()
    runs = [call for call in calls if "--graph" in call or "-I" in call]
    assert ["benchmark_model" in run for run in runs] == [True, False] * 3
    assert "--num_threads=4" in runs[0]
    assert "--graph=model.tflite" in runs[0]
    assert "-x 2" in runs[1]
    assert "-f batch:8" in runs[1]
    assert not (adb / "phone").exists()  # nothing stays on the device
    assert calls[-1] == f"-s A1 shell (rm -rf {FOLDER}) 2>&1; echo exit=$?"


def test_older_programs_print_no_median_and_name_memory_otherwise() -> None:
    text = """count=1 curr=350000
count=50 first=249042 curr=250889 min=247067 max=254474 avg=2.4968e+05 std=1442
Inference timings in us: Init: 16242, First inference: 350000, Warmup (avg): 350000, Inference (avg): 2.4968e+05
Peak memory footprint (MB): init=4.5 overall=138.5
"""
    reading = read_litert(text)
    assert (reading.p50_ms, reading.runs, reading.peak_bytes, reading.fast_path) == (249.68, 50, 138_500_000, None)
    older = read_onnx(
        "Session creation time cost: 0.06 s\nTotal iterations: 1000\nAverage time cost: 58.8 ms\nP50 Latency is 0.0587 sec\n"
    )
    assert (older.p50_ms, older.runs, older.open_ms, older.p90_ms) == (58.7, 1000, 60.0, None)


@pytest.mark.parametrize("read", [read_litert, read_onnx])
@pytest.mark.parametrize("text", ["", "STARTING!\n", "count=3 first=1 avg=2", "Average: 3 ms"])
def test_output_without_timings_is_an_error(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(ToolError, match="printed no timings"):
        read(text)


def test_the_free_dimension_has_the_name_that_the_onnx_writer_gives_it() -> None:
    pytest.importorskip("onnx")
    from mobilenets.deploy.write_onnx import BATCH

    assert f"{BATCH}:4" in TOOLS["onnx"].arguments(Call("model.onnx", 1, 4, 1.0))


def test_the_programs_are_called_with_options_that_they_document() -> None:
    call = Call("model.x", 2, 4, 1.5)
    assert {"--graph=model.x", "--num_threads=2", "--min_secs=1.5"} <= set(TOOLS["tflite"].arguments(call))
    assert list(TOOLS["onnx"].arguments(call))[-1] == "model.x"


@pytest.mark.parametrize(
    ("scenario", "message", "hint"),
    [
        ("none", "no Android device is connected", "USB debugging"),
        ("unauthorized", "device 'A1' is unauthorized", "accept the question on the device's screen"),
        ("offline", "device 'A1' is offline", "unlock it"),
        ("no permissions", "device 'A1' is not accessible", "may not open the USB device"),
        ("several", "several devices are connected: A1, B2", "--serial A1"),
    ],
)
def test_a_device_that_cannot_be_used_is_named_with_what_to_do(adb: Path, scenario: str, message: str, hint: str) -> None:
    (adb / "scenario").write_text(scenario)
    with pytest.raises(ToolError, match=message) as error:
        phone()
    assert hint in error.value.hint


def test_a_serial_number_chooses_among_several(adb: Path) -> None:
    (adb / "scenario").write_text("several")
    assert phone("B2").serial == "B2"
    with pytest.raises(ToolError, match="adb knows no device 'C3'; connected: A1, B2"):
        phone("C3")


def test_without_adb_it_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # a machine may have one
    with pytest.raises(ToolError, match="'adb' is not installed") as error:
        phone()
    assert "platform tools" in error.value.hint


@pytest.mark.parametrize(
    ("scenario", "message", "hint"),
    [
        ("full", "No space left on device", "free some space on the device"),
        ("lost", "device 'A1' not found", "was it disconnected"),
    ],
)
def test_a_device_that_is_lost_or_full_ends_the_benchmark(
    adb: Path, files: dict[str, Path], scenario: str, message: str, hint: str
) -> None:
    device = phone()
    (adb / "scenario").write_text(scenario)
    with pytest.raises(ToolError, match=message) as error:
        rows_of(device, files, [Case("m", str(files["tflite"]), "tflite")])
    assert hint in error.value.hint


def test_a_device_that_is_lost_in_the_middle_leaves_the_rounds_until_then(
    toys: str, adb: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    asked = Asked((str(files["tflite"]),), threads=(1, 2), table="bench_toys:OF_DEVICES")
    tools = [str(files["benchmark_model"])]
    rows: list[Row] = []

    def run() -> None:
        rows.clear()
        rows.extend(benchmark_on_phone(asked, tmp_path / "out", phone(), tools=tools, settings=Settings(seconds=3)))

    (adb / "scenario").write_text("unplugged")
    with pytest.raises(ToolError, match="device 'A1' not found") as error:
        run()
    assert "was it disconnected" in error.value.hint
    assert [(row.case.threads, row.p50_ms, len(row.rounds_ms)) for row in rows] == [(1, 12.0, 2), (2, 12.0, 1)]
    (adb / "scenario").write_text("fine")
    run()  # what has fewer rounds was not saved
    assert [len(row.rounds_ms) for row in rows] == [5, 5]


def test_a_benchmark_without_any_program_ends_with_where_to_get_one(
    toys: str, adb: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    asked = Asked((str(files["onnx"]), str(files["tflite"])), table="bench_toys:OF_DEVICES")
    with pytest.raises(ToolError, match="no 'benchmark_model' for arm64-v8a") as error:
        list(benchmark_on_phone(asked, tmp_path / "out", phone()))
    assert "android_aarch64_benchmark_model" in error.value.hint


def test_a_device_has_memory_by_its_programs_account(adb: Path, files: dict[str, Path]) -> None:
    rows = rows_of(phone(), files, [Case("m", str(files["tflite"]), "tflite")])
    _, columns, [line] = table(rows)
    assert dict(zip(columns, line, strict=True))["memory MB"] == "24.5"


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("crash", "on 'Toy Phone 3' a command ended with exit code 139: Segmentation fault"),
        (
            "wrong program",
            "exit code 126: /system/bin/sh: ../benchmark_model: not executable.*; is the program built for arm64-v8a",
        ),
        ("silent", "benchmark_model printed no timings"),
    ],
)
def test_a_program_that_fails_is_a_row_that_says_so(adb: Path, files: dict[str, Path], scenario: str, message: str) -> None:
    (adb / "scenario").write_text(scenario)
    [row] = rows_of(phone(), files, [Case("m", str(files["tflite"]), "tflite")])
    assert re.search(message, row.error)
    assert row.p50_ms is None


def test_batches_that_a_program_cannot_run_are_rows_that_say_so(adb: Path, files: dict[str, Path]) -> None:
    [row] = rows_of(phone(), files, [Case("m", str(files["tflite"]), "tflite", batch=2)])
    assert row.error == "benchmark_model runs one image at a time"


def test_a_program_is_found_by_its_name_by_the_runtime_and_in_the_cache(
    adb: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    device = phone()
    program = files["benchmark_model"]
    assert tool_file("tflite", device, [str(files["onnxruntime_perf_test"]), str(program)]) == program
    other = tmp_path / "bm"
    shutil.copyfile(program, other)
    assert tool_file("tflite", device, [f"tflite={other}"]) == other
    with pytest.raises(ToolError, match="no 'benchmark_model' for arm64-v8a; give it with --tool tflite=PATH") as error:
        tool_file("tflite", device, [f"onnx={other}"])
    assert "android_aarch64_benchmark_model" in error.value.hint
    kept = tmp_path / "cache" / "mobilenets" / "tools" / "arm64-v8a" / "benchmark_model"
    kept.parent.mkdir(parents=True)
    shutil.copyfile(program, kept)
    assert tool_file("tflite", device, []) == kept
    with pytest.raises(ToolError, match=r"there is no file '.*gone_benchmark_model'"):
        tool_file("tflite", device, [str(tmp_path / "gone_benchmark_model")])
    with pytest.raises(ToolError, match=r"'.*bm' is not named benchmark_model or onnxruntime_perf_test") as unnamed:
        tool_file("tflite", device, [str(other)])
    assert f"--tool tflite={other} or --tool onnx={other} says which it is" in unnamed.value.hint


def test_a_whole_benchmark_of_a_phone_is_saved_and_goes_on(
    toys: str, adb: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    asked = Asked((str(files["tflite"]), str(files["onnx"])), threads=(1, 2), table="bench_toys:OF_DEVICES")
    tools = [str(files["benchmark_model"])]

    def run() -> list[Row]:
        return list(benchmark_on_phone(asked, tmp_path / "out", phone(), tools=tools, settings=Settings(seconds=3)))

    rows = run()
    assert [(row.case.runtime, row.case.threads, row.p50_ms) for row in rows if not row.error] == [
        ("tflite", 1, 12.0),
        ("tflite", 2, 12.0),
    ]
    [missing] = [row for row in rows if row.error]
    assert missing.case.runtime == "onnx"
    assert "no 'onnxruntime_perf_test' for arm64-v8a" in missing.error
    calls = len((adb / "calls").read_text().splitlines())
    assert run()[1:] == rows[1:]
    assert len((adb / "calls").read_text().splitlines()) == calls + 3  # which device, and its two properties

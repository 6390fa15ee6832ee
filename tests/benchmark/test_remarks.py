"""What a benchmark says in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.benchmark.remarks import remarks
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.written import _point, write_plot
from mobilenets.runtime.machine import Machine

OLD = Machine("Old CPU", 2, "Linux x86_64")
NEW = Machine("New CPU", 2, "Linux x86_64", ("avx512_vnni",))


def row(precision: str, ms: float, *, model: str = "m", fast_path: float | None = None) -> Row:
    return Row(
        Case(model, "m.x", "x", precision),
        p50_ms=ms,
        rounds_ms=(ms,) * 10,
        group="0",
        cpu_ms=ms,
        fast_path=fast_path,
    )


@pytest.mark.parametrize(
    ("machine", "fast_path", "reason"),
    [
        (OLD, None, "this processor (Old CPU) has no instructions for 8-bit products (AMX, AVX-512 VNNI, AVX-VNNI, Arm"),
        (NEW, 0.62, "only 62% of its operators are on the runtime's fast path"),
        (NEW, 1.0, "neither the processor nor the fast path explains it"),
    ],
)
def test_int8_that_is_slower_than_float_is_named_with_the_reason(
    machine: Machine, fast_path: float | None, reason: str
) -> None:
    [said] = remarks([row("float32", 2.0), row("int8", 3.0, fast_path=fast_path)], machine)
    assert said.startswith("m on x: int8 is 1.50x slower than float32 (1 thread, batch 1): ")
    assert reason in said


def test_layers_that_stayed_in_float_explain_slow_integers() -> None:
    slow = row("int8", 3.0, fast_path=1.0)
    [said] = remarks([row("float32", 2.0), replace(slow, case=replace(slow.case, float_layers=2))], NEW)
    assert said.endswith(": 2 layers stayed in float, and each switch between floats and integers is an extra operator")


def test_the_reason_is_given_once_for_all_threads_and_batches() -> None:
    both = [row("float32", 2.0), row("int8", 3.0)]
    more = [replace(one, case=replace(one.case, threads=2), cpu_ms=None) for one in (row("float32", 1.0), row("int8", 2.0))]
    [said] = remarks([*both, *more], OLD)
    assert "1.50x slower than float32 (1 thread, batch 1), 2.00x slower than float32 (2 threads, batch 1): this" in said
    assert said.count("has no instructions for 8-bit products") == 1
    profiled = [replace(one, operators=f"9 Conv {one.p50_ms} ms") for one in (*both, *more)]
    [said] = remarks(profiled, NEW)
    assert said.endswith("its operators take 9 Conv 2.0 ms, and in float32 9 Conv 1.0 ms, of 2 threads, batch 1")


def test_where_the_time_goes_is_told_by_the_runtimes_profile() -> None:
    rows = [
        replace(row("float32", 2.0), operators="27 Conv 0.150 ms"),
        replace(row("int8", 3.0, fast_path=1.0), operators="27 QLinearConv 0.190 ms"),
    ]
    [said] = remarks(rows, NEW)
    assert said.endswith(
        "according to the runtime's profile, its operators take 27 QLinearConv 0.190 ms, and in float32 27 Conv 0.150 ms"
    )


def test_what_is_not_on_the_fast_path_is_listed() -> None:
    slow = replace(row("int8", 3.0, fast_path=0.5), pieces=4, slow="3 HARD_SWISH")
    [said] = remarks([row("float32", 2.0), slow], NEW)
    assert "the others run one by one (3 HARD_SWISH); its fast operators form 4 pieces" in said


@pytest.mark.parametrize(
    ("runtime", "system", "named"), [("onnx", "x86_64", True), ("onnx", "armv7l", False), ("tflite", "x86_64", False)]
)
def test_kernels_that_must_not_overflow_are_a_reason(runtime: str, system: str, named: bool) -> None:
    rows = [replace(one, case=replace(one.case, runtime=runtime)) for one in (row("float32", 2.0), row("int8", 3.0))]
    [said] = remarks(rows, Machine("Old CPU", 2, f"Linux {system}"))
    assert ("export --weight-bits 7" in said) is named


def test_int8_that_is_faster_needs_no_word() -> None:
    assert remarks([row("float32", 3.0), row("int8", 2.0)], OLD) == []


def test_rows_that_cannot_be_ranked_are_named() -> None:
    first = replace(row("float32", 2.0), rounds_ms=(2.0, 2.1) * 5)
    second = replace(row("float32", 2.05, model="n"), rounds_ms=(2.1, 2.0) * 5)
    [said] = remarks([first, second], NEW)
    assert said.startswith("m on x in float32 and n on x in float32 cannot be ranked (1 thread, batch 1)")
    detector = replace(second, case=replace(second.case, task="detect"))
    assert remarks([replace(first, case=replace(first.case, task="classify")), detector], NEW) == []


def test_other_threads_are_not_compared() -> None:
    other = replace(row("float32", 2.0), case=Case("m", "m.x", "x", "float32", threads=2))
    assert remarks([row("float32", 2.0), other], NEW) == []


def test_a_busy_machine_is_named_by_its_load_and_by_the_time_that_runs_waited() -> None:
    busy = replace(row("float32", 4.0), cpu_ms=2.0, load=3.21, rounds_ms=(4.0, 4.0, 4.0, 6.0, 6.0))
    said = remarks([busy], NEW)
    assert len(said) == 3
    assert said[0] == "other programs were running: the load average was 3.2 on 2 cores before the first row"
    alone = remarks([busy], replace(NEW, cores=1))
    assert alone[0] == "other programs were running: the load average was 3.2 on 1 core before the first row"
    assert said[1].startswith("runs on one thread took up to 2.0 times their CPU time")
    assert said[2].startswith("the latency of 1 of 1 rows varied by more than 10% between rounds")


def test_load_on_another_machine_is_named() -> None:
    far = replace(row("float32", 4.0), case=Case("m", "m.x", "x", machine="pi"), load=3.21)
    [said] = remarks([far], NEW)
    assert said == "other programs may have been running: the load average of pi was 3.2 before the first row"
    assert remarks([replace(far, load=0.2)], NEW) == []


def test_runs_that_were_interrupted_are_named_though_every_round_has_the_same_median() -> None:
    [said] = remarks([replace(row("float32", 2.0), p90_ms=24.0), replace(row("int8", 1.0), p90_ms=1.5)], NEW)
    assert said.startswith("in 1 of 2 rows one run in ten took up to 12 times the median")


@pytest.mark.parametrize(
    ("machines", "legend", "axis"), [(["pi"], ["x"], "latency on pi, ms"), (["", "pi"], ["x", "x on pi"], "latency, ms")]
)
def test_the_plot_tells_machines_apart_in_its_legend_and_names_a_single_one_on_its_axis(
    machines: list[str], legend: list[str], axis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyplot = pytest.importorskip("matplotlib.figure")
    drawn = []
    monkeypatch.setattr(pyplot.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    rows = [replace(row("float32", 2.0), case=Case("m", "m.x", "x", machine=name), file_bytes=9) for name in machines]
    write_plot(rows, tmp_path)
    axes = drawn[0].axes[0]
    series = [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
    assert [text for text in series if text != "Pareto front"] == legend
    assert axes.get_xlabel() == axis


def test_random_weights_are_said() -> None:
    random = replace(row("float32", 2.0), case=Case("v1", "m.x", "x", "float32", random_weights=True))
    assert remarks([random], NEW) == ["v1: random weights, so only speed and size are meaningful"]


@pytest.mark.parametrize(
    ("model", "precision", "name"),
    [("m", "float32", "m"), ("m/int8", "int8", "m/int8"), ("m/half.tflite", "float16", "m/half.tflite float16")],
)
def test_a_point_of_the_plot_says_its_precision_once(model: str, precision: str, name: str) -> None:
    assert _point(row(precision, 2.0, model=model), 0.5, None, named=False).name == name

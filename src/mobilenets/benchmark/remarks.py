"""Remarks on a benchmark's figures: rows that cannot be ranked, slow int8 networks, a busy machine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mobilenets.benchmark.row import Row
from mobilenets.benchmark.timing import ratio, spread
from mobilenets.data.text import counted
from mobilenets.runtime.machine import Machine

NOISY = 0.1
"""The machine counts as noisy if the spread of the rounds, relative to the median, exceeds this."""
WAITED = 1.15
"""Other programs used the processor if the wall-clock time of a single-threaded run exceeds this many times its processor
time."""
INTERRUPTED = 3.0
"""Runs were interrupted if the 90th percentile exceeds this many times the median."""
_OVERFLOWING = ("onnx", "openvino")  # add 8-bit products in 16 bits on x86 processors without VNNI
ISLANDS = 0.95
"""If a smaller share of operators than this is on the fast path, the others explain why int8 is slow."""


def remarks(rows: Sequence[Row], machine: Machine) -> list[str]:
    """Remarks on the rows, the most important first.

    Args:
        rows: the rows of one benchmark.
        machine: this machine, which measured the rows that name no other.
    """
    done = [row for row in rows if row.p50_ms is not None]
    return [*_untrained(done), *_slow_int8(done, machine), *_noise(done, machine), *_unranked(done)]


def name(row: Row) -> str:
    """The name of a row in a sentence."""
    case = row.case
    where = f" on {case.machine}" if case.machine else ""
    return f"{case.model} on {case.runtime} in {case.precision}{where}"


def setting(row: Row) -> str:
    """Threads and batch of a row, for a sentence.

    >>> from mobilenets.benchmark.row import Case
    >>> setting(Row(Case("a", "a.onnx", "onnx", threads=2, batch=1)))
    '2 threads, batch 1'
    """
    return f"{row.case.threads} thread{'s' if row.case.threads != 1 else ''}, batch {row.case.batch}"


def _untrained(rows: Sequence[Row]) -> list[str]:
    names = sorted({row.case.model for row in rows if row.case.random_weights})
    if not names:
        return []
    return [f"{', '.join(names)}: random weights, so only speed and size are meaningful"]


def _slow_int8(rows: Sequence[Row], machine: Machine) -> list[str]:
    floats = {_setting_of(row): row for row in rows if row.case.precision == "float32"}
    slow: dict[tuple[str, ...], list[tuple[Row, Row]]] = {}
    for row in rows:
        base = floats.get(_setting_of(row))
        if row.case.precision == "int8" and base is not None and ratio(row, base).low > 1:
            slow.setdefault((row.case.model, row.case.runtime, row.case.machine), []).append((row, base))
    return [_one_reason(pairs, machine) for pairs in slow.values()]


def _one_reason(pairs: Sequence[tuple[Row, Row]], machine: Machine) -> str:
    """The remark on a network that is slower in int8 than in float32, with one reason for all threads and batches."""
    row, base = max(pairs, key=lambda pair: ratio(*pair).value)
    often = ", ".join(f"{ratio(int8, floats).value:.2f}x slower than float32 ({setting(int8)})" for int8, floats in pairs)
    of = f", of {setting(row)}" if len(pairs) > 1 and row.operators and base.operators else ""
    return f"{row.case.model} on {row.case.runtime}: int8 is {often}: {why_slow(row, base, machine)}{of}"


def why_slow(row: Row, base: Row, machine: Machine) -> str:
    """Why an int8 row may be slower than the same network in float.

    Args:
        row: the row of an int8 network.
        base: the row of the same network in float32.
        machine: this machine; the processors of others are unknown.
    """
    reasons = []
    if not row.case.machine and not machine.int8:
        reasons.append(machine.lack)
        if row.case.runtime in _OVERFLOWING and "x86" in machine.system:
            reasons.append(
                "unless its weights have 7 bits (export --weight-bits 7), it uses slower kernels, whose sums do not overflow"
            )
    if row.fast_path is not None and row.fast_path < ISLANDS:
        reasons.append(
            f"only {row.fast_path:.0%} of its operators are on the runtime's fast path, and the others run one by one"
            + (f" ({row.slow})" if row.slow else "")
        )
    if row.pieces is not None and row.pieces > 1:
        reasons.append(f"its fast operators form {row.pieces} pieces, and each switch between fast and slow costs time")
    if row.case.float_layers:
        kept = counted(row.case.float_layers, "layer")
        reasons.append(f"{kept} stayed in float, and each switch between floats and integers is an extra operator")
    if row.operators and base.operators:
        reasons.append(
            f"according to the runtime's profile, its operators take {row.operators}, and in float32 {base.operators}"
        )
    return "; ".join(reasons) or "neither the processor nor the fast path explains it"


def _unranked(rows: Sequence[Row]) -> list[str]:
    said = []
    for choice in dict.fromkeys(map(_choice_of, rows)):
        alike = [row for row in rows if _choice_of(row) == choice]
        for row, other in pairwise(sorted(alike, key=lambda row: row.p50_ms or 0.0)):
            if not row.rounds_ms or not other.rounds_ms:
                continue
            compared = ratio(other, row)
            if not compared.ranked:
                said.append(
                    f"{name(row)} and {name(other)} cannot be ranked ({setting(row)}): over the rounds the second takes "
                    f"{compared.low:.2f} to {compared.high:.2f} times as long"
                )
    return said


def _noise(rows: Sequence[Row], machine: Machine) -> list[str]:
    said = []
    loads = [row.load for row in rows if row.load is not None and not row.case.machine]
    if loads and loads[0] > 0.5:
        cores = f"{machine.cores} core{'s' if machine.cores != 1 else ''}"
        said.append(f"other programs were running: the load average was {loads[0]:.1f} on {cores} before the first row")
    there = {row.case.machine: row.load for row in reversed(rows) if row.load is not None and row.case.machine}
    said += [
        f"other programs may have been running: the load average of {name} was {load:.1f} before the first row"
        for name, load in there.items()
        if load > 0.5
    ]
    waits = [
        row.p50_ms / row.cpu_ms for row in rows if row.case.threads == 1 and row.p50_ms is not None and row.cpu_ms is not None
    ]
    worst = max(waits, default=1.0)
    if worst > WAITED:
        said.append(
            f"runs on one thread took up to {worst:.1f} times their CPU time, because other programs used the "
            "processor; cpu_ms in the JSON and CSV is their CPU time"
        )
    stops = [row.p90_ms / row.p50_ms for row in rows if row.p90_ms and row.p50_ms and row.p90_ms > INTERRUPTED * row.p50_ms]
    if stops:
        said.append(
            f"in {len(stops)} of {len(rows)} rows one run in ten took up to {max(stops):.0f} times the median, as happens "
            "when other programs interrupt them; p50 is the best measure of a row's speed"
        )
    wide = [row for row in rows if (reach := spread(row)) is not None and reach[1] - reach[0] > NOISY * (row.p50_ms or 1.0)]
    if wide:
        said.append(
            f"the latency of {len(wide)} of {len(rows)} rows varied by more than {NOISY:.0%} between rounds: close other "
            "programs, or measure longer with --seconds"
        )
    return said


def _choice_of(row: Row) -> tuple[object, ...]:
    """The key shared by rows among which a user may choose the fastest."""
    return row.case.task, row.case.threads, row.case.batch, row.case.machine


def _setting_of(row: Row) -> tuple[object, ...]:
    case = row.case
    return case.model.partition("/")[0], case.runtime, case.threads, case.batch, case.machine

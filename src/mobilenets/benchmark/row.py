"""`Case`, what is to be measured, and `Row`, what was measured: one line of the benchmark's table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mobilenets.documents import decode, encode

NO_ACCURACY = "no accuracy"
"""What is said of a file whose metric could not be measured, before the reason."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file on one runtime under one setting.

    Args:
        model: what the user calls it.
        file: path of the exported file.
        runtime: name of the runtime.
        precision: what the network computes in, as its manifest says; "" while that is unknown.
        threads: that compute one batch.
        batch: images that go through the network at once.
        machine: the device or host that runs it; "" for this machine.
        version: of the runtime.
        task: classify, detect or segment.
        random_weights: whether the network was never trained, so that only its speed and size mean something.
        macs: multiply-adds of one image; None if unknown.
        activation_bytes: the smallest block of memory for the activations of one image; None if unknown.
        float_layers: layers that stayed in float when the network was quantized.
    """

    model: str
    file: str
    runtime: str
    precision: str = ""
    threads: int = 1
    batch: int = 1
    machine: str = ""
    version: str = ""
    task: str = ""
    random_weights: bool = False
    macs: int | None = None
    activation_bytes: int | None = None
    float_layers: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of a case. A figure that is unknown is None.

    Args:
        case: what was measured.
        error: why it could not be measured; "" if it could.
        p50_ms, p90_ms: latency of one batch that half and nine tenths of the runs do not exceed.
        rounds_ms: the median latency of each round, in their order.
        rounds_cpu_ms: the processor time of one batch in each round, of all threads together.
        group: rows of one group were measured in turn, round by round, so that their rounds can be compared in pairs.
        runs: how many batches were timed.
        cpu_ms: processor time of one batch, of all threads together. With one thread it is the latency that a machine without
            other work would have.
        images_per_second: throughput while it ran.
        peak_bytes: the most memory that the process had, its baseline included.
        baseline_bytes: what the process had before it loaded the runtime: Python, NumPy and this package.
        file_bytes: size of the exported file and of what belongs to it.
        interpreter_ms, import_ms, open_ms, first_run_ms: the parts of the cold start, from the start of the process to the
            first output: Python itself, this package and the runtime, opening the file, the first run.
        metric, accuracy, accuracy_low, accuracy_high: the metric on labeled data, with its 95% interval.
        fast_path: share of the operators that the runtime computes on its fast path, 0 to 1.
        pieces: how many stretches they form, if the runtime says.
        slow: the other operators, "9 HardSigmoid, 2 QuantizeLinear"; "" if there are none or the runtime does not say.
        operators: the kinds of operators that take longest by the runtime's profile, "27 Conv 0.150 ms, 1 Gemm 0.003 ms"; ""
            if it has none.
        load: programs that wanted to compute before the case was measured, averaged over a minute.
    """

    case: Case
    error: str = ""
    p50_ms: float | None = None
    p90_ms: float | None = None
    rounds_ms: tuple[float, ...] = ()
    rounds_cpu_ms: tuple[float, ...] = ()
    group: str = ""
    runs: int = 0
    cpu_ms: float | None = None
    images_per_second: float | None = None
    peak_bytes: int | None = None
    baseline_bytes: int | None = None
    file_bytes: int | None = None
    interpreter_ms: float | None = None
    import_ms: float | None = None
    open_ms: float | None = None
    first_run_ms: float | None = None
    metric: str = ""
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    fast_path: float | None = None
    pieces: int | None = None
    slow: str = ""
    operators: str = ""
    load: float | None = None

    @property
    def cold_start_ms(self) -> float | None:
        """From the start of the process to the first output."""
        parts = [part for part in (self.interpreter_ms, self.import_ms, self.open_ms, self.first_run_ms) if part is not None]
        return sum(parts) if len(parts) == 4 else None

    @property
    def own_bytes(self) -> int | None:
        """Peak memory without the baseline: the runtime, the weights and the activations. Programs on a device have none."""
        return None if self.peak_bytes is None else self.peak_bytes - (self.baseline_bytes or 0)


def key_of(case: Case, digest: str, settings: Sequence[object]) -> str:
    """What tells whether a saved row is the answer to the same question.

    Args:
        case: what is to be measured.
        digest: of the content of its file.
        settings: what else the figures depend on, such as the seconds that each case is measured for.
    """
    parts = (case.model, digest, case.runtime, case.version, case.threads, case.batch, case.machine, *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def to_flat(row: Row) -> dict[str, Any]:  # Any: what JSON and CSV hold
    """The row with everything at one level, the case first, for JSON and CSV."""
    data: dict[str, Any] = encode(row)
    case = data.pop("case")
    return {**case, **data, "cold_start_ms": row.cold_start_ms}


def from_flat(data: Mapping[str, object]) -> Row:
    """The row that `to_flat` wrote.

    Raises:
        DocumentError: a field is missing, unknown or of another type.
    """
    names = {field.name for field in fields(Case)}
    case = {name: value for name, value in data.items() if name in names}
    rest = {name: value for name, value in data.items() if name not in names and name != "cold_start_ms"}
    return decode({"case": case, **rest}, Row)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A metric on labeled data.

    Args:
        metric: its name, such as "top1".
        value: 0 to 1.
        low, high: its 95% interval; None if none is computed.
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All rows and what they have in common.

    Args:
        rows: in the order of the cases.
        data: what accuracy was measured on; "" for nothing.
        seconds: that each case was measured for, shared among its rounds.
        rounds: how often the cases took turns.
    """

    rows: tuple[Row, ...]
    data: str = ""
    seconds: float = 0.0
    rounds: int = 0


def with_accuracy(row: Row, accuracy: Accuracy | None) -> Row:
    """The row with the metric of its file on its runtime."""
    if accuracy is None:
        return row
    return replace(
        row,
        metric=accuracy.metric,
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
    )

"""`Case`, something to measure, and `Row`, its measurements: one line of the benchmark's table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mobilenets.documents import decode, encode

NO_ACCURACY = "no accuracy"
"""The beginning of the message about a file whose metric could not be measured."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file on one runtime with one setting.

    Args:
        model: the user's name for the model.
        file: path of the exported file.
        runtime: name of the runtime.
        precision: precision of the computation, according to the manifest; "" while unknown.
        threads: number of threads per batch.
        batch: batch size.
        machine: the device or host that runs it; "" for this machine.
        version: version of the runtime.
        task: classify, detect or segment.
        random_weights: whether the network was never trained, so that only its speed and size are meaningful.
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
    """The measurements of a case. Unknown figures are None.

    Args:
        case: what was measured.
        error: why it could not be measured; "" if it could.
        p50_ms, p90_ms: 50th and 90th percentile of the latency of one batch.
        rounds_ms: the median latency of each round, in order.
        rounds_cpu_ms: the processor time of one batch in each round, over all threads.
        group: rows of one group were measured interleaved in rounds, so that their rounds can be compared in pairs.
        runs: number of timed batches.
        cpu_ms: processor time of one batch, over all threads. With one thread, it is the latency on an otherwise idle machine.
        images_per_second: throughput while it ran.
        peak_bytes: peak memory of the process, including its baseline.
        baseline_bytes: memory of the process before it loaded the runtime: Python, NumPy and this package.
        file_bytes: size of the exported file and its companion files.
        interpreter_ms, import_ms, open_ms, first_run_ms: the parts of the cold start, from the start of the process to the
            first output: Python itself, this package and the runtime, opening the file, the first run.
        metric, accuracy, accuracy_low, accuracy_high: the metric on labeled data, with its 95% confidence interval.
        fast_path: share of operators on the runtime's fast path, 0 to 1.
        pieces: number of contiguous subgraphs that they form, if the runtime reports it.
        slow: the other operators, "9 HardSigmoid, 2 QuantizeLinear"; "" if there are none or the runtime does not report them.
        operators: the slowest kinds of operators in the runtime's profile, "27 Conv 0.150 ms, 1 Gemm 0.003 ms"; "" if it has
            none.
        load: the machine's load average over one minute before the case was measured.
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
        """The time from the start of the process to the first output."""
        parts = [part for part in (self.interpreter_ms, self.import_ms, self.open_ms, self.first_run_ms) if part is not None]
        return sum(parts) if len(parts) == 4 else None

    @property
    def own_bytes(self) -> int | None:
        """Peak memory minus the baseline: the runtime, the weights and the activations. Device programs have none."""
        return None if self.peak_bytes is None else self.peak_bytes - (self.baseline_bytes or 0)


def key_of(case: Case, digest: str, settings: Sequence[object]) -> str:
    """A key that identifies the same measurement among saved rows.

    Args:
        case: the case.
        digest: a hash of the content of its file.
        settings: anything else that the figures depend on, such as the measuring time.
    """
    parts = (case.model, digest, case.runtime, case.version, case.threads, case.batch, case.machine, *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def to_flat(row: Row) -> dict[str, Any]:  # Any: what JSON and CSV hold
    """The row as a flat dict, the fields of the case first, for JSON and CSV."""
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
        low, high: its 95% confidence interval; None if not computed.
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All rows and their common settings.

    Args:
        rows: in the order of the cases.
        data: the dataset for accuracy; "" for none.
        seconds: total time for each case, divided among its rounds.
        rounds: number of rounds.
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

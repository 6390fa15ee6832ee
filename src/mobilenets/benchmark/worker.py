"""The worker process of one case: opens its file, runs it on request, and answers in lines of JSON.

    python -m mobilenets.benchmark.worker

The first line of standard input is the job. When standard input ends, because the benchmark was stopped or killed, the process
ends too. What the runtime prints goes to standard error, never between the answers.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.base import Engine
    from mobilenets.runtime.engines.gate import Gate
    from mobilenets.runtime.engines.table import Runtime
    from mobilenets.runtime.manifest import Manifest

WARM_UP_RUNS, WARM_UP_S = 3, 0.2
LONGEST = 4  # number of operator kinds that a row names


def main() -> None:
    """Read the job and serve until standard input ends."""
    begun = time.time()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    try:
        serve(job, begun, answers)
    except BrokenPipeError:
        os._exit(1)  # the benchmark no longer listens
    except Exception as error:  # whatever a runtime raises becomes the reason in the row
        _answer(answers, {"error": reason(error)})


def serve(job: Mapping[str, Any], begun: float, answers: TextIO) -> None:  # Any: JSON
    """Open the file, report its facts and the time taken, then carry out orders.

    Args:
        job: `table` as "module:NAME"; the case's `runtime`, `file`, `threads` and `batch`; and `launched`, the time when the
            process was started.
        begun: the time when this module started to run, by the same clock.
        answers: stream for the answers.
    """
    from mobilenets.runtime.engines.gate import Gate
    from mobilenets.runtime.machine import peak_memory_bytes

    runtime = runtime_of(job)
    baseline_bytes = peak_memory_bytes()
    if runtime.module:
        importlib.import_module(runtime.module)
    imported = time.time()
    engine = _open(runtime, job)
    manifest = engine.manifest()
    opened = time.time()
    batch = noise(manifest, job["batch"])
    gate = Gate(engine, 1)
    prepared = time.time()
    gate.run(batch)
    answered = time.time()
    _answer(
        answers,
        {
            "interpreter_ms": 1000 * (begun - job["launched"]),
            "import_ms": 1000 * (imported - begun),
            "open_ms": 1000 * (opened - imported),
            "first_run_ms": 1000 * (answered - prepared),
            "baseline_bytes": baseline_bytes,
            "precision": engine.precision,
            "task": manifest.task,
            "network": manifest.model,
        },
    )
    orders: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {  # Any: JSON
        "facts": lambda order: {**_fast_path(engine), "operators": _operators(engine)},
        "warm_up": lambda order: _warmed_up(gate, batch),
        "slice": lambda order: _timed(gate, batch, order["seconds"]),
        "memory": lambda order: {"peak_bytes": peak_memory_bytes()},
    }
    for line in sys.stdin:
        order = json.loads(line)
        _answer(answers, orders[order["do"]](order))


def runtime_of(job: Mapping[str, Any]) -> Runtime:  # Any: JSON
    """The runtime of a job, which contains the `table` and the name of the `runtime` in it."""
    from mobilenets.runtime.engines.table import named

    return named(engines_at(str(job["table"])))[job["runtime"]][1]


def engines_at(table: str) -> Mapping[str, Runtime]:
    """The runtimes by kind of file in the table at "module:NAME"."""
    module, _, name = table.partition(":")
    engines: Mapping[str, Runtime] = getattr(importlib.import_module(module), name)
    return engines


def _open(runtime: Runtime, job: Mapping[str, Any]) -> Engine:  # Any: JSON
    from pathlib import Path

    return runtime.open(Path(job["file"]), threads=job["threads"])


def _fast_path(engine: Engine) -> dict[str, Any]:  # Any: JSON
    """The share of operators on the runtime's fast path, its pieces and the other operators; None if not reported."""
    try:
        said = engine.fast_path()
    except Exception:  # measure even if this version of a runtime cannot report a figure
        said = None
    if said is None:
        return {"fast_path": None, "pieces": None, "slow": ""}
    slow = ", ".join(f"{count} {kind}" for kind, count in sorted(said.slow.items(), key=lambda item: -item[1]))
    return {"fast_path": said.share, "pieces": said.pieces, "slow": slow}


def _operators(engine: Engine) -> str:
    """The slowest kinds of operators in the runtime's own profile; "" if it has none."""
    try:
        times = engine.operator_times()
    except Exception:  # as above
        return ""
    longest = sorted(times.items(), key=lambda item: -item[1].ms)[:LONGEST]
    return ", ".join(f"{of.count} {kind} {of.ms:.3f} ms" for kind, of in longest)


def noise(manifest: Manifest, n: int) -> NDArray[Any]:  # Any: floats
    """Preprocessed images of random noise, always the same."""
    import numpy as np

    contract = manifest.input
    return np.random.default_rng(0).normal(size=(n, contract.channels, *contract.shape)).astype(np.float32)  # N C H W


def _warmed_up(gate: Gate, batch: NDArray[Any]) -> dict[str, Any]:  # Any: as above
    start, runs = time.perf_counter(), 0
    while runs < WARM_UP_RUNS or time.perf_counter() - start < WARM_UP_S:
        gate.run(batch)
        runs += 1
    return {"runs": runs}


def _timed(gate: Gate, batch: NDArray[Any], seconds: float) -> dict[str, Any]:  # Any: as above
    """The time of each run in ms, for `seconds` but at least one run, and the total processor time.

    The first run is not counted, because caches are still filled with the data of other processes.
    """
    gate.run(batch)
    times: list[float] = []
    gc.disable()
    computed = time.process_time()
    before = start = time.perf_counter()
    while not times or before - start < seconds:
        gate.run(batch)
        now = time.perf_counter()
        times.append(1000 * (now - before))
        before = now
    gc.enable()
    return {"ms": times, "cpu_ms": 1000 * (time.process_time() - computed)}


def _answer(answers: TextIO, data: Mapping[str, Any]) -> None:  # Any: JSON
    answers.write(json.dumps(data) + "\n")
    answers.flush()


def reason(error: Exception) -> str:
    """The message of a runtime's error, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    main()

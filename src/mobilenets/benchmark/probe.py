"""The process that times many small files, all open at once and interleaved: for latencies of pieces of networks.

    python -m mobilenets.benchmark.probe

The first line of standard input is the job: `table`, `runtime`, `threads` and `files`. Each order is a round over them.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from mobilenets.benchmark.worker import noise, reason, runtime_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenets.runtime.engines.gate import Gate

_LEAST_RUNS = 10


def main() -> None:
    """Read the job and serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    try:
        serve(job, answers)
    except BrokenPipeError:
        os._exit(1)  # the parent no longer listens
    except Exception as error:  # the parent process reports whatever a runtime raises
        answers.write(json.dumps({"error": reason(error)}) + "\n")


def serve(job: Mapping[str, Any], answers: TextIO) -> None:  # Any: JSON
    """Open all files, report their number, then time them round by round.

    With one thread, processor time is measured, which other programs do not affect; otherwise wall-clock time.
    """
    from pathlib import Path

    from mobilenets.runtime.engines.gate import Gate

    runtime = runtime_of(job)
    opened: list[tuple[Gate, NDArray[Any]]] = []  # Any: floats
    for file in job["files"]:
        engine = runtime.open(Path(file), threads=job["threads"])
        gate = Gate(engine, 1)
        opened.append((gate, _taken_best(gate, noise(engine.manifest(), 1))))
    clock = time.process_time if job["threads"] == 1 else time.perf_counter
    answers.write(json.dumps({"opened": len(opened)}) + "\n")
    order = random.Random(0)
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        turns = list(range(len(opened)))
        order.shuffle(turns)  # so that no file always runs after the same one
        best = {i: _fastest(*opened[i], seconds, clock) for i in turns}
        answers.write(json.dumps({"ms": [best[i] for i in range(len(opened))]}) + "\n")


def _taken_best(gate: Gate, batch: NDArray[Any]) -> NDArray[Any]:  # Any: floats
    """The images in the memory layout that is fastest for the runtime: some convert from channels first to channels last.

    Inside a network, feature maps already have the layout that the runtime prefers.
    """
    last = batch.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)  # the same N C H W
    return min((batch, last), key=lambda images: _fastest(gate, images, 0.0, time.perf_counter))


def _fastest(gate: Gate, batch: NDArray[Any], seconds: float, clock: Callable[[], float]) -> float:  # Any: floats
    """The time of the fastest run within some seconds, in ms. The first run, with cold caches, is left out."""
    gate.run(batch)
    times: list[float] = []
    gc.disable()
    start = time.perf_counter()
    while len(times) < _LEAST_RUNS or time.perf_counter() - start < seconds:
        before = clock()
        gate.run(batch)
        times.append(clock() - before)
    gc.enable()
    return 1000 * min(times)


def fastest(
    files: Sequence[str],
    runtime: str,
    *,
    threads: int,
    rounds: int,
    seconds: float,
    table: str,
    progress: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """The latency of each file's fastest run, in ms. The files are interleaved, so that all see the same load of the machine.

    Args:
        files: exported files of one runtime.
        runtime: its name.
        threads: number of threads per image.
        rounds: number of rounds.
        seconds: time for each file in each round.
        table: the runtimes, as "module:NAME".
        progress: called with the number of files measured since the last call, `len(files)` in total.

    Raises:
        WorkerError: a file cannot be opened or run; the message is the runtime's.
    """
    from mobilenets.benchmark.process import Worker

    best: list[float] = []
    for first in range(0, len(files), TOGETHER):
        part = list(files[first : first + TOGETHER])
        job = {"table": table, "runtime": runtime, "threads": threads, "files": part}
        worker = Worker(job, module="mobilenets.benchmark.probe")
        try:
            worker.answer()
            turns = [worker.ask("round", seconds=seconds)["ms"] for _ in range(rounds)]
        finally:
            worker.close()
        best += [min(times) for times in zip(*turns, strict=True)]
        progress(len(part))
    return best


TOGETHER = 64
"""Most files that one process opens at once."""


if __name__ == "__main__":
    main()

"""Measures cases in groups: each case in a separate process, all processes of a group interleaved in rounds."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from mobilenets.benchmark.process import TABLE, Worker, WorkerError
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.timing import timed
from mobilenets.runtime.machine import load

SECONDS, ROUNDS, LIVE, STARTS = 3.0, 15, 8, 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Args:
        seconds: total time for each case, divided among the rounds.
        rounds: number of rounds.
        live: most processes in a group.
        starts: how often each case is started; the cold start is the median over these starts.
        table: the runtimes, as "module:NAME".
    """

    seconds: float = SECONDS
    rounds: int = ROUNDS
    live: int = LIVE
    starts: int = STARTS
    table: str = TABLE


def measured(
    cases: Sequence[Case], settings: Settings | None = None, *, progress: Callable[[int], None] = lambda done: None
) -> Iterator[Row]:
    """A row for each case, as soon as its group is done; a case that cannot be measured yields a row with the reason.

    Args:
        cases: the cases; those with the same threads and batch should be adjacent, since they are compared with each other.
        settings: how to measure.
        progress: called with the number of steps done since the last call; `steps` is their total.
    """
    settings = settings or Settings()
    for i in range(0, len(cases), settings.live):
        yield from _group(cases[i : i + settings.live], settings, str(i // settings.live), progress)


def steps(cases: Sequence[Case], settings: Settings) -> int:
    """The total number of steps that `measured` reports."""
    return len(cases) * (settings.starts + settings.rounds)


def opened(case: Case, table: str = TABLE, *, facts: bool = False) -> dict[str, Any]:  # Any: JSON
    """The facts that the file of a case declares, read by its runtime in a separate process: precision, task, network.

    Args:
        case: its file and runtime are used.
        table: the runtimes, as "module:NAME".
        facts: whether to include `fast_path`, `pieces`, `slow` and `operators`, as in a row.

    Raises:
        WorkerError: it cannot be opened or run.
    """
    worker = Worker(_job(case, table))
    try:
        answer = worker.answer()
        return {**answer, **worker.ask("facts")} if facts else answer
    finally:
        worker.close()


def _group(cases: Sequence[Case], settings: Settings, group: str, progress: Callable[[int], None]) -> list[Row]:
    rows = [Row(case, group=group, load=load()) for case in cases]
    slices: list[list[list[float]]] = [[] for _ in cases]
    computed: list[list[float]] = [[] for _ in cases]
    with ExitStack() as stack:
        workers: dict[int, Worker] = {}

        def failed(i: int, error: WorkerError) -> None:
            rows[i] = replace(rows[i], error=str(error))
            workers.pop(i, None)

        for i, case in enumerate(cases):
            try:
                workers[i], rows[i] = _started(case, rows[i], settings, stack)
            except WorkerError as error:
                failed(i, error)
            progress(settings.starts)
        for i in list(workers):
            try:
                workers[i].ask("warm_up")
            except WorkerError as error:
                failed(i, error)
        order = random.Random(0)
        for _ in range(settings.rounds):
            turns = list(workers)
            order.shuffle(turns)  # so that no case always runs after the same one
            for i in turns:
                try:
                    answer = workers[i].ask("slice", seconds=settings.seconds / settings.rounds)
                    slices[i].append(answer["ms"])
                    computed[i].append(answer["cpu_ms"])
                except WorkerError as error:
                    failed(i, error)
            progress(len(cases))
        for i in list(workers):
            try:
                peak = workers[i].ask("memory")["peak_bytes"]
                rows[i] = timed(replace(rows[i], peak_bytes=peak), slices[i], computed[i])
            except WorkerError as error:
                failed(i, error)
    return rows


def _started(case: Case, row: Row, settings: Settings, stack: ExitStack) -> tuple[Worker, Row]:
    """The last started process of a case, and the row with the medians over all starts."""
    answers = [opened(case, settings.table) for _ in range(settings.starts - 1)]
    worker = Worker(_job(case, settings.table))
    stack.callback(worker.close)
    answers.append(worker.answer())
    parts = ("interpreter_ms", "import_ms", "open_ms", "first_run_ms")
    medians = {part: statistics.median(answer[part] for answer in answers) for part in parts}
    last = answers[-1]
    known = replace(case, precision=last["precision"], task=last["task"])
    return worker, replace(row, case=known, baseline_bytes=last["baseline_bytes"], **medians)


def _job(case: Case, table: str) -> dict[str, object]:
    return {
        "table": table,
        "runtime": case.runtime,
        "file": case.file,
        "threads": case.threads,
        "batch": case.batch,
    }

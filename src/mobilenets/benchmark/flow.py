"""A whole benchmark: plan, accuracy, latency; each result is saved before the next one is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilenets.benchmark import plan
from mobilenets.benchmark.measure import Settings, measured, opened, steps
from mobilenets.benchmark.plan import Asked, FileOnRuntime, Network
from mobilenets.benchmark.process import Worker, WorkerError
from mobilenets.benchmark.row import NO_ACCURACY, Accuracy, Case, Row, key_of, with_accuracy
from mobilenets.benchmark.saving import Saved
from mobilenets.telling import Telling


@dataclass(frozen=True, slots=True)
class Data:
    """Labeled images.

    Args:
        source: the dataset, as for `open_dataset`.
        split: "" for the test split if there is one, else everything.
        classes, ignore: the classes of masks, and the value to ignore.
    """

    source: str
    split: str = ""
    classes: str | tuple[str, ...] = ""
    ignore: tuple[str, ...] = ()


def benchmark(
    asked: Asked, folder: Path, *, data: Data | None = None, settings: Settings | None = None, telling: Telling | None = None
) -> Iterator[Row]:
    """The rows of a benchmark, each as soon as it is known; results that are already in the folder are not measured again.

    Args:
        asked: what to measure.
        folder: for the rows and for exported files.
        data: dataset for measuring accuracy.
        settings: how latency is measured.
        telling: shows progress.

    Raises:
        CheckpointError, UnknownNameError, UsageError: a model, a runtime or a precision is nothing that can be measured.
        OSError: the folder cannot be written.
    """
    settings, telling = replace(settings or Settings(), table=asked.table), telling or Telling()
    plan.check_precisions(asked.precisions)
    networks = plan.networks(asked)
    saved = Saved(folder)
    saved.read()
    files, failures = all_files(networks, asked, folder, telling)
    yield from failures
    cases: list[tuple[Case, dict[str, Any]]] = []  # Any: JSON
    precisions: dict[str, set[str]] = {}  # of the files of each model
    with telling.progress("opening", len(files)) as advance:
        for item in files:
            try:
                facts = opened(item.case, asked.table, facts=True)
            except WorkerError as error:
                yield Row(item.case, error=str(error))
            else:
                precisions.setdefault(item.case.model.partition("/")[0], set()).add(facts["precision"])
                if not asked.precisions or facts["precision"] in asked.precisions:
                    expanded = plan.expanded(item, asked, precision=facts["precision"], task=facts["task"])
                    fast = {name: facts[name] for name in ("fast_path", "pieces", "slow", "operators")}
                    cases += [(case, fast) for case in expanded]
            advance(1)
    yield from _without(precisions, asked)
    paths = dict(cases)
    ordered = plan.in_order([case for case, _ in cases])
    keys = {case: key_of(case, plan.digest(Path(case.file)), (settings.seconds, settings.rounds)) for case in ordered}
    accuracies = {} if data is None else _accuracies(ordered, data, saved, telling, asked.table)
    for case in ordered:
        if keys[case] in saved.rows:
            yield with_accuracy(saved.rows[keys[case]], accuracies.get((case.file, case.runtime)))
    left = [case for case in ordered if keys[case] not in saved.rows]
    with telling.progress("measuring", steps(left, settings)) as advance:
        for case, row in zip(left, measured(left, settings, progress=advance), strict=True):
            known = replace(row, file_bytes=plan.size_bytes(Path(case.file)), **paths[case])
            if not known.error:
                saved.add_row(keys[case], known)
            yield with_accuracy(known, accuracies.get((case.file, case.runtime)))


def _without(precisions: Mapping[str, set[str]], asked: Asked) -> Iterator[Row]:
    """A row with an error for each requested precision that no file of a model has."""
    for model, there in precisions.items():
        for precision in asked.precisions:
            if precision not in there:
                case = Case(model, "", ", ".join(asked.runtimes) or plan.ALL, precision)
                yield Row(case, error=f"no file of '{model}' is in {precision}; there is {' and '.join(sorted(there))}")


def all_files(
    networks: Sequence[Network], asked: Asked, folder: Path, telling: Telling
) -> tuple[list[FileOnRuntime], list[Row]]:
    """The files of all networks with the runtimes that read them, and a row with an error for each that is impossible.

    A run includes its int8 folder; if that is named separately too, its files are listed only once.
    """
    items = [item for network in networks for item in plan.files_of(network, asked, folder, said=telling.said)]
    files = {item.case: item for item in items if isinstance(item, FileOnRuntime)}
    return list(files.values()), [item for item in items if isinstance(item, Row)]


def _accuracies(
    cases: Sequence[Case], data: Data, saved: Saved, telling: Telling, table: str
) -> dict[tuple[str, str], Accuracy]:
    """The metric of each file on each runtime. Failures are reported and leave their rows without a metric."""
    accuracies: dict[tuple[str, str], Accuracy] = {}
    for case in cases:
        pair = (case.file, case.runtime)
        if pair in accuracies or case.random_weights:
            continue
        key = key_of(replace(case, threads=1, batch=1), plan.digest(Path(case.file)), (data,))
        if key not in saved.accuracies:
            try:
                saved.add_accuracy(key, _judged(case, data, telling, table))
            except WorkerError as error:
                telling.said(f"{case.file} on {case.runtime}: {NO_ACCURACY}: {error}")
                continue
        accuracies[pair] = saved.accuracies[key]
    return accuracies


def _judged(case: Case, data: Data, telling: Telling, table: str) -> Accuracy:
    job: dict[str, Any] = {  # Any: JSON
        "table": table,
        "runtime": case.runtime,
        "file": case.file,
        "data": {"source": data.source, "split": data.split, "classes": data.classes, "ignore": data.ignore},
    }
    worker = Worker(job, module="mobilenets.benchmark.judge")
    try:
        images = worker.answer()["images"]
        with telling.progress(f"accuracy of {case.model} on {case.runtime}", images) as advance:
            while "done" in (answer := worker.answer()):
                advance(answer["done"])
        return Accuracy(answer["metric"], answer["value"], answer["low"], answer["high"])
    finally:
        worker.close()

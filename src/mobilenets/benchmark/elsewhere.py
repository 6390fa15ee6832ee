"""Benchmarks on other machines: an Android device over adb, or a machine with this package over ssh."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mobilenets.benchmark import adb, plan, ssh
from mobilenets.benchmark.adb import Phone
from mobilenets.benchmark.flow import Data, all_files
from mobilenets.benchmark.measure import Settings, opened
from mobilenets.benchmark.plan import Asked, FileOnRuntime
from mobilenets.benchmark.process import WorkerError
from mobilenets.benchmark.row import Case, Row, key_of
from mobilenets.benchmark.saving import Saved
from mobilenets.benchmark.ssh import Host, Kept
from mobilenets.benchmark.tools import TOOLS, ToolError
from mobilenets.runtime.engines.table import named
from mobilenets.telling import Telling


def benchmark_on_phone(
    asked: Asked,
    folder: Path,
    device: Phone,
    *,
    tools: Sequence[str] = (),
    settings: Settings | None = None,
    telling: Telling | None = None,
) -> Iterator[Row]:
    """The rows of an Android device, for the runtimes that have a benchmark program.

    Args:
        asked: what to measure.
        folder: for the rows and for exported files.
        device: the device that runs the programs.
        tools: paths or addresses of the programs.
        settings: how long to measure.
        telling: shows progress.

    Raises:
        CheckpointError, UnknownNameError, UsageError: a model, a runtime or a precision is nothing that can be measured.
        OSError: the folder cannot be written.
        ToolError: no runtime has its program, or the device was lost; the rows measured up to then are yielded first.
    """
    settings, telling = settings or Settings(), telling or Telling()
    asked = replace(asked, here=False, runtimes=asked.runtimes or tuple(TOOLS))
    plan.check_precisions(asked.precisions)
    adb.places(tools)  # report wrong ones before anything is exported
    files, failures = all_files(plan.networks(asked), asked, folder, telling)
    programs: dict[str, Path] = {}
    missing: dict[str, ToolError] = {}
    used = {item.case.runtime for item in files}
    for name in (*(name for name in TOOLS if name in used), *sorted(used - set(TOOLS))):
        try:
            programs[name] = adb.tool_file(name, device, tools)
        except ToolError as error:
            missing[name] = error
    if missing and not programs:
        raise next(iter(missing.values()))
    yield from failures
    cases: list[Case] = []
    for item in files:
        name = item.case.runtime
        if name in missing:
            reason = ": ".join(filter(None, (str(missing[name]), missing[name].hint)))
            yield Row(replace(item.case, machine=device.name), error=reason)
        else:
            cases += _known(replace(item, case=replace(item.case, machine=device.name, version="")), asked)
    saved = Saved(folder)
    saved.read()
    ordered = plan.in_order([case for case in cases if not asked.precisions or case.precision in asked.precisions])
    keys = {case: key_of(case, plan.digest(Path(case.file)), (settings.seconds,)) for case in ordered}
    yield from (saved.rows[keys[case]] for case in ordered if keys[case] in saved.rows)
    left = [case for case in ordered if keys[case] not in saved.rows]
    if not left:
        return
    with telling.progress(f"measuring on {device.name}", adb.ROUNDS * len(left)) as advance:
        rows = adb.measured_on(device, left, programs, seconds=settings.seconds, progress=advance)
        for row in rows:
            if len(row.rounds_ms) == adb.ROUNDS:  # fewer, if the device was lost
                saved.add_row(keys[row.case], row)
            yield row


def benchmark_on_host(
    asked: Asked,
    folder: Path,
    host: Host,
    *,
    data: Data | None = None,
    settings: Settings | None = None,
    telling: Telling | None = None,
) -> Iterator[Row]:
    """The rows of another machine, which runs the command of this package.

    Args:
        asked: what to measure; the machine uses those of the runtimes that it has.
        folder: for the rows and for exported files.
        host: the machine.
        data: dataset for measuring accuracy, a path or address on that machine.
        settings: how latency is measured.
        telling: shows progress.

    Raises:
        CheckpointError, UnknownNameError, UsageError: a model, a runtime or a precision is nothing that can be measured.
        OSError: the folder cannot be written.
        ToolError: the machine cannot be reached, or its command fails.
    """
    settings, telling = settings or Settings(), telling or Telling()
    asked = replace(asked, here=False)
    plan.check_precisions(asked.precisions)
    host.run(f"{host.command} --version")  # report an unreachable machine before anything is exported
    files, failures = all_files(plan.networks(asked), asked, folder, telling)
    yield from failures
    first = {item.case.file: item for item in reversed(files)}  # one for each file; the machine takes every runtime
    cases = [_known(item, replace(asked, threads=(1,), batches=(1,)))[0] for item in reversed(first.values())]
    if not cases:
        return
    telling.said(f"{len(cases)} files are measured on {host.address}")
    saved = Saved(folder)
    options = _options(asked, data, settings)
    for row in ssh.measured_on(host, cases, options, said=telling.said, kept=Kept.of(folder)):
        if not row.error:
            saved.add_row(key_of(row.case, plan.digest(Path(row.case.file)), (settings.seconds, settings.rounds)), row)
        yield row


def _known(item: FileOnRuntime, asked: Asked) -> list[Case]:
    """The case with every setting, and with the facts that the file declares if its runtime is installed here."""
    _, runtime = named(asked.engines)[item.case.runtime]
    facts = {"precision": "", "task": ""}
    if runtime.runs_here:
        with contextlib.suppress(WorkerError):  # the other machine will say what is wrong with it
            facts = opened(item.case, asked.table)
    return plan.expanded(item, asked, precision=facts["precision"], task=facts["task"])


def _options(asked: Asked, data: Data | None, settings: Settings) -> list[str]:
    """The equivalent options of the command on the other machine."""
    options = ["--threads", ",".join(map(str, asked.threads)), "--batch", ",".join(map(str, asked.batches))]
    options += ["--seconds", f"{settings.seconds:g}", "--rounds", str(settings.rounds)]
    for name, values in (("--runtime", asked.runtimes), ("--precision", asked.precisions)):
        options += [name, ",".join(values)] if values else []
    if data is not None:
        classes = data.classes if isinstance(data.classes, str) else ",".join(data.classes)
        options += ["--data", data.source]
        options += ["--split", data.split] if data.split else []
        options += ["--classes", classes] if classes else []
        options += [part for name in data.ignore for part in ("--ignore", name)]
    return options

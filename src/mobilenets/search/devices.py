"""Devices for measuring pieces and networks: a runtime on this machine, another machine over ssh, or Android over adb."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mobilenets.benchmark import adb, ssh
from mobilenets.benchmark.adb import Phone
from mobilenets.benchmark.probe import fastest
from mobilenets.benchmark.process import TABLE, WorkerError
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.ssh import Host
from mobilenets.deploy.graph import Graph
from mobilenets.exporters.table import EXPORTERS
from mobilenets.runtime.engines.table import named
from mobilenets.runtime.machine import machine
from mobilenets.search.latency import Device, LatencyError

Progress = Callable[[int], None]


class Measures(Protocol):
    """Measures latencies on one device."""

    @property
    def device(self) -> Device:
        """The device."""
        ...

    def latencies_ms(self, graphs: Sequence[Graph], progress: Progress = lambda done: None) -> list[float]:
        """The latency of each graph for one image.

        Args:
            graphs: the graphs, each measured on its own.
            progress: called with the number of graphs that were measured since the last call.

        Raises:
            LatencyError: a graph cannot be written or run.
            ToolError: the device is lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """Measures on this machine: the fastest run of several rounds, in which all graphs are interleaved.

    Args:
        runtime: its name in `mobilenets benchmark`.
        threads: number of threads per image.
        rounds: number of rounds.
        seconds: time for each graph in each round.
    """

    runtime: str = "onnx"
    threads: int = 1
    rounds: int = 10
    seconds: float = 0.006

    @property
    def device(self) -> Device:
        """The processor and the runtime."""
        return Device(machine().cpu, self.runtime, named()[self.runtime][1].version, self.threads)

    def latencies_ms(self, graphs: Sequence[Graph], progress: Progress = lambda done: None) -> list[float]:
        """See `Measures`."""
        with _written(graphs, self.runtime) as files:
            try:
                return fastest(
                    [str(file) for file in files],
                    self.runtime,
                    threads=self.threads,
                    rounds=self.rounds,
                    seconds=self.seconds,
                    table=TABLE,
                    progress=progress,
                )
            except WorkerError as error:
                raise LatencyError(f"{named()[self.runtime][1].title} cannot measure: {error}") from error


@dataclass(frozen=True, slots=True)
class There:
    """Measures on another machine with `mobilenets benchmark`.

    Args:
        host: the machine.
        runtime: a runtime on that machine.
        threads: number of threads per image.
    """

    host: Host
    runtime: str = "onnx"
    threads: int = 1

    @property
    def device(self) -> Device:
        """The machine, identified by address; the version of its runtime is unknown here."""
        return Device(self.host.address, self.runtime, "", self.threads)

    def latencies_ms(self, graphs: Sequence[Graph], progress: Progress = lambda done: None) -> list[float]:
        """See `Measures`."""
        options = ["--runtime", self.runtime, "--threads", str(self.threads), "--seconds", "0.3", "--rounds", "5"]
        with _written(graphs, self.runtime) as files:
            cases = _cases(files, self.runtime, self.threads)
            rows = ssh.measured_on(self.host, cases, options)
            progress(len(cases))
            return _in_order(rows, cases)


@dataclass(frozen=True, slots=True)
class OnPhone:
    """Measures on an Android device with the runtime's own benchmark program.

    Args:
        phone: the device.
        runtime: a runtime with a benchmark program.
        tool: the program.
        threads: number of threads per image.
    """

    phone: Phone
    runtime: str
    tool: Path
    threads: int = 1

    @property
    def device(self) -> Device:
        """The device, identified by name; the version of the program is unknown."""
        return Device(self.phone.name, self.runtime, "", self.threads)

    def latencies_ms(self, graphs: Sequence[Graph], progress: Progress = lambda done: None) -> list[float]:
        """See `Measures`."""
        with _written(graphs, self.runtime) as files:
            cases = _cases(files, self.runtime, self.threads)
            rows: list[Row] = []
            for row in adb.measured_on(self.phone, cases, {self.runtime: self.tool}, seconds=0.3, rounds=3):
                rows.append(replace(row, case=replace(row.case, machine="")))
                progress(1)
            return _in_order(rows, cases)


@contextmanager
def _written(graphs: Sequence[Graph], runtime: str) -> Iterator[list[Path]]:
    """A context with graphs as files for a runtime.

    Raises:
        LatencyError: no exporter writes files for the runtime.
        MissingExtraError: a library that the exporter needs is not installed.
    """
    if runtime not in EXPORTERS:
        raise LatencyError(f"no exporter writes files for '{runtime}'", hint="--runtime onnx, tflite, openvino or native")
    exporter = EXPORTERS[runtime]
    exporter.format.version()  # raises before anything is written
    with tempfile.TemporaryDirectory(prefix="mobilenets-latency-") as scratch:
        files = [Path(scratch, str(i), exporter.file) for i in range(len(graphs))]
        for graph, file in zip(graphs, files, strict=True):
            file.parent.mkdir()
            exporter.format.write(graph, file, exporter.format.batch)
        yield files


def _cases(files: Sequence[Path], runtime: str, threads: int) -> list[Case]:
    return [Case(str(i), str(file), runtime, threads=threads) for i, file in enumerate(files)]


def _in_order(rows: Sequence[Row], cases: Sequence[Case]) -> list[float]:
    """The fastest round of each case, in ms."""
    by_name = {row.case.model: row for row in rows if row.case.runtime == cases[0].runtime}
    latencies: list[float] = []
    for case in cases:
        row = by_name.get(case.model)
        if row is None or not row.rounds_ms:
            reason = row.error if row is not None and row.error else "there is no row of it"
            raise LatencyError(f"'{case.runtime}' measured no latency: {reason}")
        latencies.append(min(row.rounds_ms))
    return latencies

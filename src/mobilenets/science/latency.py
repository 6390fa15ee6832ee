"""Latencies of networks on this machine, measured interleaved by our benchmark: ONNX Runtime, one thread, one image."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mobilenets.benchmark.measure import Settings, measured, steps
from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.timing import Ratio, cpu_ratio, middle
from mobilenets.errors import MobileNetsError
from mobilenets.science.entry import Asked, Cell
from mobilenets.science.networks import Network

ROUNDS, STARTS, LIVE = 15, 1, 12

CELLS = ("cpu_ms", "cpu_low_ms", "cpu_high_ms", "p50_ms")
"""Heads of the columns of `Latencies.cells`."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """The measured latencies, by name of the network.

    Args:
        rows: the rows of the benchmark.
    """

    rows: Mapping[str, Row]

    def ms(self, name: str) -> float:
        """Processor time per image in ms: the latency on an otherwise idle machine."""
        return statistics.median(self.rows[name].rounds_cpu_ms)

    def range_ms(self, name: str) -> tuple[float, float]:
        """The range of the processor time over the middle 80% of the rounds, in ms."""
        return middle(self.rows[name].rounds_cpu_ms)

    def cells(self, name: str) -> tuple[Cell, ...]:
        """The cells for a table, in the order of `CELLS`."""
        return (self.ms(name), *self.range_ms(name), self.rows[name].p50_ms)

    def ratio(self, name: str, other: str) -> Ratio:
        """The ratio of processor times of `name` and `other`, from pairs of rounds, with its confidence interval."""
        return cpu_ratio(self.rows[name], self.rows[other])


def latencies(networks: Sequence[Network], asked: Asked) -> Latencies:
    """Measure networks interleaved; those without a file are exported first.

    Raises:
        ExportError: a network cannot be exported.
        MobileNetsError: one cannot be run.
    """
    files = {}
    with asked.telling.progress("exporting", len(networks)) as advance:
        for network in networks:
            files[network.name] = network.file(asked.folder / "networks")
            advance(1)
    cases = [Case(name, str(file), "onnx", random_weights=True) for name, file in files.items()]
    settings = Settings(seconds=asked.seconds, rounds=ROUNDS, live=LIVE, starts=STARTS)
    with asked.telling.progress("timing", steps(cases, settings)) as advance:
        rows = list(measured(cases, settings, progress=advance))
    for row in rows:
        if row.error:
            raise MobileNetsError(f"'{row.case.model}' could not be timed: {row.error}")
    return Latencies({row.case.model: row for row in rows})

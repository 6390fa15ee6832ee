"""Tables of whole networks: parameters and multiply-adds counted, latency measured, accuracy as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mobilenets.benchmark.timing import Ratio
from mobilenets.science import draw
from mobilenets.science.entry import Asked, Cell, Comparison, Result
from mobilenets.science.latency import CELLS, Latencies, latencies
from mobilenets.science.printed import Line

COUNTS = ("network", "width", "size", "top1_published", "params", "params_printed_millions", "macs", "macs_printed_millions")
COLUMNS = (*COUNTS, *CELLS, "ms_printed")
CAPTION = (
    "Bars: counted on the module that runs, and measured on this machine in ONNX Runtime (processor time, one thread, one "
    "image). Marks: the paper's values. In parentheses: published ImageNet top-1 accuracy."
)


@dataclass(frozen=True, slots=True)
class Counted:
    """The networks of a table with their costs.

    Args:
        lines: the printed lines.
        params, macs: our counts, by name of the line.
    """

    lines: tuple[Line, ...]
    params: Mapping[str, int]
    macs: Mapping[str, int]

    def rows(self) -> list[tuple[Cell, ...]]:
        """The table, with `COUNTS`."""
        return [
            (
                *(line.name, line.width, line.size, line.top1),
                *(self.params[line.name], line.params, self.macs[line.name], line.macs),
            )
            for line in self.lines
        ]

    def comparisons(self, source: str) -> tuple[Comparison, ...]:
        """Each printed count compared with ours; the reason is omitted if they agree within one unit of the last digit."""
        return tuple(
            Comparison(f"{line.name}: {what}", printed, here, "M", source, "" if abs(here - printed) <= _unit(printed) else why)
            for line in self.lines
            for what, printed, here, why in (
                ("parameters", line.params, self.params[line.name] / 1e6, line.why_params),
                ("MACs", line.macs, self.macs[line.name] / 1e6, line.why_macs),
            )
        )


@dataclass(frozen=True, slots=True)
class Measured(Counted):
    """The same with latencies.

    Args:
        lines, params, macs: as in `Counted`.
        latencies: of all networks, measured in one run.
    """

    latencies: Latencies

    def rows(self) -> list[tuple[Cell, ...]]:
        """The table, with `COLUMNS`."""
        timed = [(*self.latencies.cells(line.name), line.ms) for line in self.lines]
        return [(*row, *more) for row, more in zip(Counted.rows(self), timed, strict=True)]

    def times(self, name: str, other: str) -> Ratio:
        """How many times slower one network is than another."""
        return self.latencies.ratio(name, other)


def counted(lines: Sequence[Line]) -> Counted:
    """Count the networks of a table."""
    graphs = {line.name: line.built().graph() for line in lines}
    params, macs = ({name: getattr(graph, cost) for name, graph in graphs.items()} for cost in ("params", "macs"))
    return Counted(tuple(lines), params, macs)


def measured(lines: Sequence[Line], asked: Asked) -> Measured:
    """Count and time the networks of a table."""
    found = counted(lines)
    return Measured(found.lines, found.params, found.macs, latencies([line.built() for line in lines], asked))


def result(found: Measured, source: str, comparisons: Sequence[Comparison] = (), findings: Sequence[str] = ()) -> Result:
    """A table with its plot.

    Args:
        found: the networks of the table.
        source: where the paper prints it.
        comparisons, findings: in addition to the counts.
    """
    lines = found.lines
    names = [f"{line.name} ({line.top1:g}%)" for line in lines]
    panels = (
        draw.Bars("parameters, M", [found.params[line.name] / 1e6 for line in lines], [line.params for line in lines], 2),
        draw.Bars("MACs, M", [found.macs[line.name] / 1e6 for line in lines], [line.macs for line in lines], 0),
        draw.Bars("latency, ms", [found.latencies.ms(line.name) for line in lines], [None] * len(lines)),
    )
    comparisons = (*found.comparisons(source), *comparisons)
    return Result(COLUMNS, found.rows(), draw.bars(names, panels), CAPTION, comparisons, tuple(findings))


def beside(
    lines: Sequence[Line], asked: Asked, pairs: Sequence[tuple[str, str]], *, source: str, device: str, reason: str
) -> Result:
    """A table with printed latencies, and the latency ratios of pairs of its networks in the paper and here.

    Args:
        lines: lines of the table; those in pairs have printed latencies.
        asked: the options for timing.
        pairs: a network and the one that its latency is divided by.
        source: where the paper prints the table.
        device: the paper's device, as in "on a Pixel 1".
        reason: why this machine may differ.
    """
    found = measured(lines, asked)
    printed = {line.name: line.ms or 0 for line in lines}
    comparisons = [
        Comparison(
            f"latency of {name} relative to {other}",
            printed[name] / printed[other],
            found.times(name, other).value,
            "times",
            f"{source}: {device}",
            reason,
        )
        for name, other in pairs
    ]
    return result(found, source, comparisons, [slower(name, other, found.times(name, other)) for name, other in pairs])


def slower(name: str, other: str, times: Ratio) -> str:
    """A sentence on how two networks' latencies compare here."""
    if not times.ranked:
        return f"{name} and {other} cannot be ranked by latency here: the ratio is {_interval(times)}."
    return f"{name} takes {_interval(times)} times as long as {other} on this machine."


def _interval(times: Ratio) -> str:
    return f"{times.value:.2f} ({times.low:.2f} to {times.high:.2f})"


def _unit(printed: float) -> float:
    """One unit of the last digit of a printed figure.

    >>> _unit(4.2), _unit(569)
    (0.1, 1.0)
    """
    return float(Decimal(1).scaleb(int(Decimal(str(printed)).as_tuple().exponent)))

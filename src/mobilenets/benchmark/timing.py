"""Statistics of run times: latency, its spread over rounds, and whether two rows can be ranked."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mobilenets.benchmark.row import Row

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times slower one row is than another.

    Args:
        value: the median over the rounds.
        low, high: its 95% confidence interval.
    """

    value: float
    low: float
    high: float

    @property
    def ranked(self) -> bool:
        """Whether the interval excludes a ratio of 1."""
        return self.low > 1 or self.high < 1


def timed(row: Row, slices: Sequence[Sequence[float]], cpu_ms: Sequence[float]) -> Row:
    """The row with latency and throughput.

    Args:
        row: determines the number of images per run.
        slices: times of the runs in each round, in ms; no round is empty.
        cpu_ms: total processor time of the runs in each round.
    """
    runs = sorted(time for times in slices for time in times)
    return replace(
        row,
        p50_ms=quantile(runs, 0.5),
        p90_ms=quantile(runs, 0.9),
        rounds_ms=tuple(statistics.median(times) for times in slices),
        runs=len(runs),
        rounds_cpu_ms=tuple(total / len(times) for total, times in zip(cpu_ms, slices, strict=True)),
        cpu_ms=sum(cpu_ms) / len(runs),
        images_per_second=1000 * row.case.batch * len(runs) / sum(runs),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value such that at least this share of the values is no larger.

    >>> quantile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], 0.9)
    9.0
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(row: Row) -> tuple[float, float] | None:
    """The range of the middle 80% of the rounds, in ms; None for a row without rounds."""
    return middle(row.rounds_ms) if row.rounds_ms else None


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The range of the middle 80% of the values, of which there must be at least one.

    >>> middle([5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 6.0, 8.0, 7.0, 10.0])
    (2.0, 9.0)
    """
    ordered = sorted(values)
    left_out = len(ordered) // 10  # at each end
    return ordered[left_out], ordered[len(ordered) - 1 - left_out]


def ratio(row: Row, other: Row) -> Ratio:
    """How many times slower `row` is than `other`.

    Rows of one group are compared round by round, so that disturbances of both cancel out. Rows of different groups were
    measured at different times, so their uncertainties add up.

    Args:
        row, other: rows with measurements.
    """
    return _ratio(row, other, (row.rounds_ms, other.rounds_ms))


def cpu_ratio(row: Row, other: Row) -> Ratio:
    """The same by processor time, which other programs on the processor do not affect.

    Args:
        row, other: rows measured on this machine, each with one thread.
    """
    return _ratio(row, other, (row.rounds_cpu_ms, other.rounds_cpu_ms))


def _ratio(row: Row, other: Row, rounds: tuple[Sequence[float], Sequence[float]]) -> Ratio:
    first, second = rounds
    if row.group == other.group and len(first) == len(second):
        return _median([mine / theirs for mine, theirs in zip(first, second, strict=True)])
    mine, theirs = _median(first), _median(second)
    return Ratio(mine.value / theirs.value, mine.low / theirs.high, mine.high / theirs.low)


def _median(values: Sequence[float]) -> Ratio:
    """The median with its confidence interval by order statistics, which assumes nothing about the distribution."""
    ordered = sorted(values)
    left_out = _outside(len(ordered))
    return Ratio(statistics.median(ordered), ordered[left_out], ordered[-1 - left_out])


def _outside(n: int) -> int:
    """How many of `n` sorted values at each end lie outside the 95% interval of the median; 0 for fewer than six values.

    The median lies below the k-th smallest value if fewer than k of n coin tosses are heads (David and Nagaraja, Order
    Statistics, section 7.1).
    """
    k, tail = 0, 0.5**n
    while 2 * tail <= 1 - CONFIDENCE and k < n // 2:
        k += 1
        tail += math.comb(n, k) * 0.5**n
    return max(0, k - 1)

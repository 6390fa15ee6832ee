"""Latency, its spread, and when two rows can be ranked; every expected value is worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mobilenets.benchmark.row import Case, Row
from mobilenets.benchmark.timing import Ratio, cpu_ratio, quantile, ratio, spread, timed


def row(*rounds: float, group: str = "0") -> Row:
    return Row(Case("m", "m.onnx", "onnx"), rounds_ms=rounds, group=group)


def test_latency_is_that_of_all_runs_and_throughput_counts_images() -> None:
    done = timed(Row(Case("m", "m.onnx", "onnx", batch=4)), [[10.0, 20.0, 30.0], [40.0]], cpu_ms=[45.0, 15.0])
    assert (done.p50_ms, done.p90_ms, done.runs, done.cpu_ms) == (20.0, 40.0, 4, 15.0)
    assert done.rounds_ms == (20.0, 40.0)
    assert done.rounds_cpu_ms == (15.0, 15.0)
    assert done.images_per_second == pytest.approx(4 * 4 / 0.1)  # four runs of four images in 100 ms


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.75, 3.0), (0.76, 4.0), (1.0, 4.0), (0.0, 1.0)])
def test_a_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == expected


def test_the_spread_leaves_out_a_tenth_of_the_rounds_at_each_end() -> None:
    assert spread(row(*range(1, 21))) == (3, 18)
    assert spread(row(5.0, 3.0)) == (3.0, 5.0)
    assert spread(row()) is None


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [  # ranks of the 95% interval of the median: Conover, Practical Nonparametric Statistics, binomial with p = 1/2
        (6, 1, 6),
        (10, 2, 9),
        (15, 4, 12),
        (20, 6, 15),
    ],
)
def test_the_interval_is_that_of_the_median_by_order_statistics(n: int, low: int, high: int) -> None:
    compared = ratio(row(*range(1, n + 1)), row(*[1.0] * n))
    assert (compared.low, compared.high) == (low, high)


def test_rows_of_one_group_are_compared_round_by_round_so_that_common_noise_cancels_out() -> None:
    noise = [1.0, 5.0, 2.0, 9.0, 1.5, 3.0, 1.1, 7.0, 1.0, 2.5]
    slow, fast = row(*(1.1 * x for x in noise)), row(*noise)
    compared = ratio(slow, fast)
    assert compared.ranked
    assert (compared.low, compared.value, compared.high) == pytest.approx((1.1, 1.1, 1.1))
    apart = ratio(slow, row(*noise, group="1"))
    assert not apart.ranked


def test_processor_time_ranks_rows_whose_latencies_others_disturbed() -> None:
    latencies = ((1.0, 9.0, 1.0, 5.0, 1.0, 8.0), (2.0, 2.0, 7.0, 2.0, 2.0, 9.0))
    first, second = (replace(row(*ms), rounds_cpu_ms=(cpu,) * len(ms)) for ms, cpu in zip(latencies, (1.0, 2.0), strict=True))
    assert not ratio(second, first).ranked
    assert cpu_ratio(second, first) == Ratio(2.0, 2.0, 2.0)


def test_equal_rows_cannot_be_ranked() -> None:
    first = row(1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1)
    second = row(1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0)
    assert not ratio(first, second).ranked

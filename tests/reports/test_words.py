from __future__ import annotations

import pytest

from mobilenets.evaluation.intervals import Interval
from mobilenets.evaluation.metric import Metric
from mobilenets.reports import words


def test_values_read_as_percentages_but_for_likelihood_and_area() -> None:
    assert words.value(Metric("top1", "", 0.8912)) == "89.1%"
    assert words.value(Metric("nll", "", 0.4321)) == "0.432"
    assert words.interval(Metric("roc_auc", "", 0.9, Interval(0.85, 0.95))) == "0.850 to 0.950"
    assert words.interval(Metric("top1", "", 0.9, Interval(0.85, 0.95))) == "85.0% to 95.0%"
    assert words.interval(Metric("nll", "", 0.9)) == ""


def test_what_is_empty_in_a_fact_is_left_out() -> None:
    assert words.plain({"task": "", "classes": [], "ignore": ()}) == ""
    assert words.plain({"task": "segment", "classes": ["sky", "road"], "ignore": [], "count": 0}) == (
        "task segment, classes sky, road, count 0"
    )


def test_what_cannot_be_computed_is_a_dash() -> None:
    nan = float("nan")
    assert (words.value(Metric("nll", "", nan)), words.value(Metric("map", "", nan))) == ("-", "-")
    assert words.interval(Metric("map", "", nan, Interval(nan, nan))) == ""


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [(0.06, 1, "+0.1"), (-0.06, 1, "-0.1"), (0.04, 1, "0.0"), (-0.04, 1, "0.0"), (0.04, 2, "+0.04"), (-0.0, 3, "0.000")],
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(amount: float, decimals: int, text: str) -> None:
    assert words.difference(amount, decimals) == text

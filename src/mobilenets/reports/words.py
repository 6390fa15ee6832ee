"""How reports format figures, durations and facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mobilenets.evaluation.metric import Metric

PLAIN = frozenset(("nll", "roc_auc"))
"""Metrics that are not shares; all others are written as percentages."""

UNITS: Mapping[str, str] = {"signal_to_noise": "dB", "latency": "ms", "size": "MB"}
"""Metrics that have a unit."""


def value(metric: Metric) -> str:
    """The value of a metric, or a dash if there is none."""
    if metric.name in UNITS:
        return "-" if math.isnan(metric.value) else quantity(metric.value, UNITS[metric.name])
    return share(metric.value) if metric.name not in PLAIN else "-" if math.isnan(metric.value) else f"{metric.value:.3f}"


def quantity(amount: float, unit: str) -> str:
    """An amount with its unit, with enough digits to tell small amounts apart.

    >>> quantity(0.1234, "ms"), quantity(12.34, "ms")
    ('0.12 ms', '12.3 ms')
    """
    return f"{amount:,.2f} {unit}" if 0 < abs(amount) < 1 else f"{amount:,.1f} {unit}"


def share(part: float) -> str:
    """A share as a percentage, or a dash if it is NaN.

    >>> share(0.8912), share(float("nan"))
    ('89.1%', '-')
    """
    return "-" if math.isnan(part) else f"{part:.1%}"


def difference(amount: float, decimals: int = 1) -> str:
    """A difference with its sign, without sign if it rounds to zero, or a dash if it is NaN.

    >>> difference(2.24), difference(-0.5), difference(-0.04), difference(0.004, 2), difference(float("nan"))
    ('+2.2', '-0.5', '0.0', '0.00', '-')
    """
    text = f"{amount:+.{decimals}f}"
    return "-" if math.isnan(amount) else text if float(text) else text[1:]


def interval(metric: Metric) -> str:
    """The interval in the unit of its value; "" if there is none."""
    if metric.interval is None or not metric.interval.known:
        return ""
    low, high = metric.interval.low, metric.interval.high
    return f"{low:.3f} to {high:.3f}" if metric.name in PLAIN else f"{low:.1%} to {high:.1%}"


def metric_lines(metrics: Sequence[Metric]) -> list[tuple[str, str, str, str]]:
    """Title, value, interval and note of each metric, as text."""
    return [(metric.title, value(metric), interval(metric), metric.note) for metric in metrics]


def plain(fact: object) -> str:
    """A fact from a context as one line of text, without empty values.

    >>> plain({"train": 190, "test": [13, 14], "ignore": []})
    'train 190, test 13, 14'
    """
    if isinstance(fact, Mapping):
        texts = {key: plain(value) for key, value in fact.items()}
        return ", ".join(f"{key} {text}" for key, text in texts.items() if text)
    if isinstance(fact, list | tuple):
        return ", ".join(plain(value) for value in fact)
    return f"{fact:g}" if isinstance(fact, float) else str(fact)


def duration(seconds: float) -> str:
    """A duration in its two largest units.

    >>> duration(9.6), duration(185), duration(7260)
    ('10 s', '3 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"

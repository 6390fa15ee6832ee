"""Confidence intervals: Wilson's interval for a share, and bootstrap intervals over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
ROUNDS = 1000
_ROUNDING = 1e-12  # relative difference below which values differ only by rounding

Statistic = Callable[["NDArray[np.int64]"], float]
"""A figure as a function of how often each image was drawn, given as N counts that sum to N."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; both ends are included."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval could be computed; otherwise its ends are NaN."""
        return not math.isnan(self.low)


def ends(interval: Interval | None) -> tuple[float | None, float | None]:
    """The ends of an interval; None if it could not be computed, because JSON has no NaN.

    >>> ends(Interval(0.5, 0.75)), ends(Interval(math.nan, math.nan)), ends(None)
    ((0.5, 0.75), (None, None), (None, None))
    """
    return (interval.low, interval.high) if interval is not None and interval.known else (None, None)


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share (Wilson 1927, JASA 22).

    >>> interval = wilson(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    center = (share + z * z / (2 * trials)) / scale
    half = z / scale * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Interval(max(0.0, center - half), min(1.0, center + half))


def paired(gained: int, lost: int, drawn: NDArray[np.float64], trials: int) -> Interval:
    """The confidence interval of a difference between two shares, measured on the same images.

    If no image, or every image, favors the same side, the bootstrap draws do not vary. The interval then comes from Wilson's
    bound for the share of unseen images.

    Args:
        gained, lost: number of images that only the second or only the first gets right.
        drawn: the difference in each bootstrap draw.
        trials: number of images.

    >>> none = paired(0, 0, np.zeros(3), 10)
    >>> round(none.low, 4), round(none.high, 4)
    (-0.2775, 0.2775)
    """
    interval = percentiles(drawn)
    if interval.known:
        return interval
    bound = wilson(0, trials).high
    if gained == lost:  # none: both get the same images right
        return Interval(-bound, bound)
    return Interval(1 - bound, 1.0) if gained else Interval(-1.0, bound - 1)


def bootstrap(
    statistic: Statistic,
    samples: int,
    *,
    confidence: float = CONFIDENCE,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Interval:
    """The percentile interval of a statistic over samples drawn with replacement (Efron 1979).

    The same seed draws the same samples, so the intervals of two models on the same images are comparable.

    Args:
        statistic: a function of how often each sample was drawn; draws for which it is NaN are left out.
        samples: number of samples, N.
        rounds: number of draws of N samples.
    """
    return percentiles(draws(statistic, samples, rounds=rounds, seed=seed), confidence)


def draws(statistic: Statistic, samples: int, *, rounds: int = ROUNDS, seed: int = 0) -> NDArray[np.float64]:
    """The value of a statistic for each bootstrap draw; NaN where it is undefined. Arguments as for `bootstrap`."""
    return np.array([statistic(counts) for counts in drawn_counts(samples, rounds=rounds, seed=seed)])


def drawn_counts(samples: int, *, rounds: int = ROUNDS, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often each of N samples is drawn, for each of `rounds` draws of N with replacement; depends only on the seed."""
    generator = np.random.default_rng(seed)
    chances = np.full(samples, 1 / samples)
    for _ in range(rounds):
        yield generator.multinomial(samples, chances)


def percentiles(values: NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """The interval that holds the middle `confidence` of the values; NaNs are left out.

    It is NaN to NaN if all values are the same. If every image is right, every draw is right too, which does not tell how many
    unseen images would be wrong.
    """
    values = values[~np.isnan(values)]
    if not len(values) or np.ptp(values) <= _ROUNDING * np.abs(values).max():
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))

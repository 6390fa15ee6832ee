"""Metrics of a classifier and how sure they are, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How one class fares.

    Args:
        label: its name.
        precision: share of the images called so that are; 0 when none was called so.
        recall: share of its images that were found; 0 when it has none.
        f1: harmonic mean of the two.
        support: images that truly are of this class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


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


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    samples: int,
    *,
    confidence: float = CONFIDENCE,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Interval:
    """The percentile interval of a statistic over samples drawn with replacement (Efron 1979).

    Args:
        statistic: of how often each sample was drawn, N counts that sum to N; a draw for which it is NaN is left out.
        samples: N.
    """
    generator = np.random.default_rng(seed)
    chances = np.full(samples, 1 / samples)
    values = np.array([statistic(generator.multinomial(samples, chances)) for _ in range(rounds)])
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def ranks(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the true class among the scores of each row, 0 for first; of equal scores the earlier class comes first."""
    own = scores[np.arange(len(truth)), truth][:, np.newaxis]
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < truth[:, np.newaxis]))
    places: NDArray[np.int64] = ahead.sum(axis=1)
    return places


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts `[true class, predicted class]`."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassMetrics, ...]:
    """The metrics of each class from a confusion matrix."""
    hits, called, support = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall, f1 = _share(hits, called), _share(hits, support), _share(2 * hits, called + support)
    return tuple(
        ClassMetrics(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(labels)
    )


def macro_f1(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None = None
) -> float:
    """Mean F1 of the classes that occur in `truth`; each sample counts `counts` times."""
    hits, called, support = _margins(truth, predicted, classes, counts)
    return float(_share(2 * hits, called + support)[support > 0].mean())


def balanced_accuracy(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None = None
) -> float:
    """Mean recall of the classes that occur in `truth`; each sample counts `counts` times."""
    hits, _, support = _margins(truth, predicted, classes, counts)
    return float(_share(hits, support)[support > 0].mean())


def roc_curve(positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False-positive and true-positive rate as the threshold falls, from (0, 0) to (1, 1); one point per distinct score."""
    order, ends = _descending(scores)
    hits = np.cumsum(positive[order])[ends]
    misses = 1 + ends - hits
    zero = np.zeros(1)
    return np.concatenate([zero, misses / misses[-1]]), np.concatenate([zero, hits / hits[-1]])


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """The chance that a positive scores above a negative, equal scores counting half (Mann-Whitney); NaN without both kinds."""
    return auc_of_counts(positive, scores)(np.ones(len(scores), np.int64))


def auc_of_counts(positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> Callable[[NDArray[np.int64]], float]:
    """`roc_auc` as a function of how often each sample counts; sorts once, for `bootstrap`."""
    order, ends = _descending(scores)
    sorted_positive = positive[order]

    def auc(counts: NDArray[np.int64]) -> float:
        drawn = counts[order]
        hits = np.concatenate([[0], np.cumsum(drawn * sorted_positive)[ends]])
        misses = np.concatenate([[0], np.cumsum(drawn * ~sorted_positive)[ends]])
        pairs = hits[-1] * misses[-1]
        return float(np.dot(np.diff(misses), hits[1:] + hits[:-1]) / 2 / pairs) if pairs else float("nan")

    return auc


def _descending(scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of falling scores, and the last place of each group of equal ones."""
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)


def _margins(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Hits, calls and support of each class."""
    weights = np.ones(len(truth)) if counts is None else counts.astype(np.float64)
    return (
        _totals(truth, weights * (truth == predicted), classes),
        _totals(predicted, weights, classes),
        _totals(truth, weights, classes),
    )


def _totals(places: NDArray[np.int64], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    return np.bincount(places, weights, classes).astype(np.float64)


def _share(
    part: NDArray[np.int64] | NDArray[np.float64], whole: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares

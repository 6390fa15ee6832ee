"""Metrics of a classifier, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Precision, recall and F1 of one class.

    Args:
        label: the class's name.
        precision: share of the images predicted as this class that truly belong to it; 0 if there are none.
        recall: share of the images of this class that were predicted as this class; 0 if there are none.
        f1: harmonic mean of precision and recall.
        support: number of images that truly belong to this class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def ranks(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of the true class among the scores of each row, 0 for the highest; ties are ordered by class index."""
    own = scores[np.arange(len(truth)), truth][:, np.newaxis]
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < truth[:, np.newaxis]))
    rank: NDArray[np.int64] = ahead.sum(axis=1)
    return rank


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Number of samples per `[true class, predicted class]`."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassMetrics, ...]:
    """The metrics of each class from a confusion matrix."""
    hits, predicted_as, support = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall, f1 = _share(hits, predicted_as), _share(hits, support), _share(2 * hits, predicted_as + support)
    return tuple(
        ClassMetrics(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(labels)
    )


def macro_f1(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None = None
) -> float:
    """Mean F1 of the classes that occur in `truth`, with each sample weighted by `counts`."""
    hits, predicted_as, support = _margins(truth, predicted, classes, counts)
    return float(_share(2 * hits, predicted_as + support)[support > 0].mean())


def balanced_accuracy(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None = None
) -> float:
    """Mean recall of the classes that occur in `truth`, with each sample weighted by `counts`."""
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
    """Probability that a positive scores above a negative, ties counting half (Mann-Whitney); NaN if one kind is missing."""
    return auc_of_counts(positive, scores)(np.ones(len(scores), np.int64))


def auc_of_counts(positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> Callable[[NDArray[np.int64]], float]:
    """`roc_auc` as a function of how often each sample counts. It sorts only once, for use in `bootstrap`."""
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
    """The order of descending scores, and the last position of each group of ties."""
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)


def _margins(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, counts: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Hits, predictions and support of each class, with each sample weighted by its count."""
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

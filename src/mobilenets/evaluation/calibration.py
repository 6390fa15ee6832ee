"""Do scores mean what they say? Calibration error, reliability, and the temperature that mends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram: predictions whose score is above `low` and at most `high`.

    Args:
        low, high: its range of scores.
        count: predictions in it.
        score: their mean score; 0 when there are none.
        accuracy: share of them that is right; 0 when there are none.
    """

    low: float
    high: float
    count: int
    score: float
    accuracy: float


def reliability(scores: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """Accuracy beside mean score in bins of equal width (Guo et al. 2017, section 2).

    Args:
        scores: of the predicted class, N.
        correct: whether that class is the true one, N.
    """
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize(scores, edges, right=True) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    whole = np.maximum(counts, 1)
    score = np.bincount(places, scores, bins) / whole
    accuracy = np.bincount(places, correct, bins) / whole
    return tuple(
        Bin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(score[i]), float(accuracy[i])) for i in range(bins)
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance between score and accuracy over the bins, by their counts (Guo et al. 2017, eq. 3)."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.score) for one in bins) / total


def negative_log_likelihood(logits: NDArray[np.float32], truth: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean of -log score of the true class, nats."""
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    total = peak + np.log(np.exp(scaled - peak[:, np.newaxis]).sum(axis=1))
    return float((total - scaled[np.arange(len(truth)), truth]).mean())


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The softmax temperature with the least negative log likelihood (Guo et al. 2017, section 4.2), between 0.05 and 20.

    The loss is convex in the inverse temperature: Newton steps, kept inside a bracket that shrinks.

    Args:
        logits: of a split that was not trained on, N classes, at temperature 1.
        truth: class of each row.

    Raises:
        DataError: there are no rows, or a logit is not finite.
    """
    if not len(logits):
        raise DataError("no images to fit the temperature on")
    if not np.isfinite(logits).all():
        raise DataError("a logit is not finite; the temperature cannot be fitted")
    centered = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = centered[np.arange(len(truth)), truth].mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    inverse = 1.0
    for _ in range(60):
        scores = np.exp(centered * inverse)
        scores /= scores.sum(axis=1, keepdims=True)
        mean = (scores * centered).sum(axis=1)
        slope = float(mean.mean() - own)
        curvature = float(((scores * centered**2).sum(axis=1) - mean**2).mean())
        if slope == 0:
            break
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else 0.0
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) < 1e-7 * inverse:
            break
        inverse = following
    return float(1 / inverse)

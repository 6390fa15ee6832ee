"""Calibration of scores: calibration error, the reliability diagram, and the temperature that corrects overconfidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import DataError
from mobilenets.evaluation.folds import folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0

PRIOR = 0.25
"""Standard deviation of the prior on log temperature, whose mean is 0. About 50 images outweigh the prior."""

FEWEST = 20
"""With fewer validation images than this, no temperature is fitted, because cross-validation would be meaningless."""

_MOST = 5000  # maximum number of images used for the cross-validation


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram: the predictions whose score is above `low` and at most `high`.

    Args:
        low, high: range of scores.
        count: number of predictions in that range.
        score: their mean score; 0 if there are none.
        accuracy: share of them that are right; 0 if there are none.
    """

    low: float
    high: float
    count: int
    score: float
    accuracy: float


def reliability(scores: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """Accuracy and mean score in bins of equal width (Guo et al. 2017, section 2).

    Args:
        scores: the score of the predicted class, N.
        correct: whether that class is the true one, N.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.digitize(scores, edges, right=True) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    whole = np.maximum(counts, 1)
    score = np.bincount(bin_of, scores, bins) / whole
    accuracy = np.bincount(bin_of, correct, bins) / whole
    return tuple(
        Bin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(score[i]), float(accuracy[i])) for i in range(bins)
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean gap between score and accuracy over the bins, weighted by their counts (Guo et al. 2017, eq. 3)."""
    total = sum(bar.count for bar in bins)
    return sum(bar.count * abs(bar.accuracy - bar.score) for bar in bins) / total


def negative_log_likelihood(logits: NDArray[np.float32], truth: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean negative log likelihood of the true class, in nats."""
    return float(losses(logits, truth, temperature).mean())


def losses(logits: NDArray[np.float32], truth: NDArray[np.int64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Negative log likelihood of the true class of each image, in nats, N."""
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    total = peak + np.log(np.exp(scaled - peak[:, np.newaxis]).sum(axis=1))
    loss: NDArray[np.float64] = total - scaled[np.arange(len(truth)), truth]
    return loss


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The softmax temperature to ship: fitted with a prior at 1, and kept only if it helps on held-out images.

    A few images, or images that are all predicted right, say little about the scores of wrong predictions. The prior keeps the
    temperature near 1 until there is evidence. Cross-validation then compares the loss on held-out images with the loss at
    temperature 1. The temperature stays 1 unless the mean gain exceeds its standard error.

    Args:
        logits: logits at temperature 1 of a split that was not trained on, N classes.
        truth: index of the true class of each row.

    Raises:
        DataError: there are no rows, or a logit is not finite.
    """
    _check(logits)
    if len(logits) < FEWEST:
        return 1.0
    chosen = np.random.default_rng(0).permutation(len(logits))[:_MOST]
    some, answers = logits[chosen], truth[chosen]
    before = losses(some, answers)
    after = np.empty_like(before)
    for fitted_on, held_out in folds(len(some)):
        temperature = likeliest_temperature(some[fitted_on], answers[fitted_on], prior=PRIOR)
        after[held_out] = losses(some[held_out], answers[held_out], temperature)
    gains = before - after
    if gains.mean() <= gains.std(ddof=1) / len(gains) ** 0.5:
        return 1.0
    return likeliest_temperature(logits, truth, prior=PRIOR)


def likeliest_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64], *, prior: float = float("inf")) -> float:
    """The softmax temperature with the lowest negative log likelihood (Guo et al. 2017, section 4.2), between 0.05 and 20.

    It is found by Newton steps on the log of the inverse temperature, inside a shrinking bracket.

    Args:
        logits: N classes, at temperature 1.
        truth: index of the true class of each row.
        prior: standard deviation of a normal prior on log temperature; infinite for none.

    Raises:
        DataError: there are no rows, or a logit is not finite.
    """
    _check(logits)
    centered = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    true_mean = centered[np.arange(len(truth)), truth].mean()
    pull = 1 / prior**2 / len(logits)  # weight of the prior, per image
    low, high = -float(np.log(HOTTEST)), -float(np.log(COLDEST))
    x = 0.0  # log of the inverse temperature
    for _ in range(80):
        inverse = float(np.exp(x))
        scores = np.exp(centered * inverse)
        scores /= scores.sum(axis=1, keepdims=True)
        mean = (scores * centered).sum(axis=1)
        slope = inverse * float(mean.mean() - true_mean) + pull * x
        if slope == 0:
            break
        variance = float(((scores * centered**2).sum(axis=1) - mean**2).mean())
        curvature = inverse**2 * variance + inverse * float(mean.mean() - true_mean) + pull
        low, high = (low, x) if slope > 0 else (x, high)
        step = x - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) < 1e-8:
            break
        x = following
    return float(np.exp(-x))


def _check(logits: NDArray[np.float32]) -> None:
    if not len(logits):
        raise DataError("there are no images to fit the temperature on")
    if not np.isfinite(logits).all():
        raise DataError("a logit is not finite, so the temperature cannot be fitted")

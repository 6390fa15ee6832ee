from __future__ import annotations

import numpy as np
import pytest

from mobilenets.errors import DataError
from mobilenets.evaluation.classify import calibration

scipy_optimize = pytest.importorskip("scipy.optimize")
sklearn_metrics = pytest.importorskip("sklearn.metrics")


def drawn(temperature: float, samples: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from the softmax of `logits / temperature`."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (samples, classes)).astype(np.float32)
    noise = generator.gumbel(size=logits.shape)
    return logits, (logits / temperature + noise).argmax(axis=1)


def test_reliability_by_hand() -> None:
    scores = np.array([0.95, 0.85, 0.55, 0.5], np.float32)
    bins = calibration.reliability(scores, np.array([True, False, True, False]), bins=2)
    assert [(one.count, one.accuracy) for one in bins] == [(1, 0.0), (3, pytest.approx(2 / 3))]
    assert bins[1].score == pytest.approx((0.95 + 0.85 + 0.55) / 3)


def test_calibration_error_by_hand() -> None:
    # bins (0, 0.5] and (0.5, 1]: |0 - 0.5| * 1/4 + |2/3 - 0.78333| * 3/4
    scores = np.array([0.95, 0.85, 0.55, 0.5], np.float32)
    bins = calibration.reliability(scores, np.array([True, False, True, False]), bins=2)
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.125 + 0.0875)


def test_scores_of_0_and_1_have_a_bin() -> None:
    bins = calibration.reliability(np.array([0.0, 1.0], np.float32), np.array([False, True]))
    assert (bins[0].count, bins[-1].count, len(bins)) == (1, 1, 15)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_likelihood_is_sklearns_log_loss(temperature: float) -> None:
    logits, truth = drawn(1.0, samples=100)
    scores = np.exp(logits.astype(np.float64) / temperature)
    expected = sklearn_metrics.log_loss(truth, scores / scores.sum(axis=1, keepdims=True), labels=range(5))
    assert calibration.negative_log_likelihood(logits, truth, temperature) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0, 6.0])
def test_fitted_temperature_is_scipys(temperature: float) -> None:
    logits, truth = drawn(temperature)
    expected = scipy_optimize.minimize_scalar(
        lambda t: calibration.negative_log_likelihood(logits, truth, t),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-7},
    ).x
    assert calibration.likeliest_temperature(logits, truth) == pytest.approx(expected, rel=1e-4)


def test_fitting_finds_the_temperature_the_labels_were_drawn_with() -> None:
    assert calibration.likeliest_temperature(*drawn(2.0, samples=20000)) == pytest.approx(2.0, rel=0.03)


def test_flawless_logits_get_the_coldest_temperature() -> None:
    assert calibration.likeliest_temperature(np.eye(4, dtype=np.float32), np.arange(4)) == pytest.approx(0.05, rel=1e-3)


def test_logits_that_are_always_wrong_get_the_hottest() -> None:
    assert calibration.likeliest_temperature(np.eye(2, dtype=np.float32), np.array([1, 0])) == pytest.approx(20, rel=1e-3)


def test_logits_that_say_nothing_leave_the_temperature_at_1() -> None:
    assert calibration.likeliest_temperature(np.zeros((3, 2), np.float32), np.array([1, 0, 0])) == 1.0


@pytest.mark.parametrize("logits", [np.zeros((0, 2), np.float32), np.array([[np.nan, 0]], np.float32)])
def test_nothing_to_fit_on_is_said(logits: np.ndarray) -> None:
    with pytest.raises(DataError):
        calibration.fit_temperature(logits, np.zeros(len(logits), np.int64))


@pytest.mark.parametrize("samples", [5, 30, 100])
def test_images_that_are_all_right_do_not_make_every_score_certain(samples: int) -> None:
    logits = np.zeros((samples, 3), np.float32)
    truth = np.arange(samples) % 3
    logits[np.arange(samples), truth] = 2  # a score of 79%
    assert calibration.fit_temperature(logits, truth) > 0.3


def test_few_images_leave_the_temperature_at_1() -> None:
    logits, truth = drawn(3.0, samples=calibration.FEWEST - 1)
    assert calibration.fit_temperature(logits, truth) == 1.0


def test_the_prior_loses_its_weight_as_images_are_added() -> None:
    fitted = [calibration.fit_temperature(*drawn(2.0, samples=samples)) for samples in (60, 600, 6000)]
    assert fitted == sorted(fitted)
    assert fitted[-1] == pytest.approx(2.0, rel=0.05)


def test_with_a_prior_the_temperature_is_scipys() -> None:
    logits, truth = drawn(0.5, samples=300)

    def penalized(temperature: float) -> float:
        prior = np.log(temperature) ** 2 / (2 * calibration.PRIOR**2)
        return len(truth) * calibration.negative_log_likelihood(logits, truth, temperature) + float(prior)

    expected = scipy_optimize.minimize_scalar(penalized, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-7}).x
    assert calibration.likeliest_temperature(logits, truth, prior=calibration.PRIOR) == pytest.approx(expected, rel=1e-4)


def test_scores_that_are_right_as_they_are_keep_temperature_1() -> None:
    kept = sum(calibration.fit_temperature(*calibrated(seed)) == 1.0 for seed in range(20))
    assert kept >= 14  # one standard error is exceeded by chance in 1 of 6


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("samples", [5, 12, 40])
def test_a_small_split_never_costs_likelihood_on_other_images(seed: int, samples: int) -> None:
    """Well separated classes, as after fine-tuning: nearly all are right, and the scores are too low at temperature 1."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, samples + 2000)
    logits = generator.normal(0, 1, (len(truth), 3)).astype(np.float32)
    logits[np.arange(len(truth)), truth] += 2.5
    temperature = calibration.fit_temperature(logits[:samples], truth[:samples])
    rest, answers = logits[samples:], truth[samples:]
    shipped = calibration.negative_log_likelihood(rest, answers, temperature)
    assert shipped <= calibration.negative_log_likelihood(rest, answers) + 0.01


def calibrated(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose scores are right at temperature 1."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (200, 3)).astype(np.float32)
    return logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)

"""scikit-learn is the oracle; intervals are checked against published and simulated figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.evaluation import intervals
from mobilenets.evaluation.classify import metrics

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def answers(seed: int, samples: int = 200, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, samples)
    return truth, np.where(generator.random(samples) < 0.6, truth, generator.integers(0, classes, samples))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_newcombes(successes: int, trials: int, low: float, high: float) -> None:
    interval = intervals.wilson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_interval_of_nothing_is_everything() -> None:
    assert intervals.wilson(0, 0) == intervals.Interval(0.0, 1.0)


def test_confusion_matrix_counts_true_rows_and_predicted_columns() -> None:
    truth, predicted = answers(0)
    expected = sklearn_metrics.confusion_matrix(truth, predicted, labels=range(5))
    assert metrics.confusion_matrix(truth, predicted, 5).tolist() == expected.tolist()


def test_class_metrics_are_sklearns() -> None:
    truth, predicted = answers(1)
    predicted[predicted == 3] = 0  # class 3 is never called
    rows = metrics.per_class(metrics.confusion_matrix(truth, predicted, 5), "abcde")
    expected = sklearn_metrics.precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=0)
    np.testing.assert_allclose([(row.precision, row.recall, row.f1, row.support) for row in rows], np.transpose(expected))
    assert [row.label for row in rows] == list("abcde")


def test_macro_f1_and_balanced_accuracy_are_sklearns() -> None:
    truth, predicted = answers(2)
    assert metrics.macro_f1(truth, predicted, 4) == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    expected = sklearn_metrics.balanced_accuracy_score(truth, predicted)
    assert metrics.balanced_accuracy(truth, predicted, 4) == pytest.approx(expected)


def test_classes_without_images_do_not_count_in_the_mean() -> None:
    truth, predicted = answers(3)
    assert metrics.macro_f1(truth, predicted, 1000) == pytest.approx(metrics.macro_f1(truth, predicted, 4))


def test_counts_stand_for_repeated_samples() -> None:
    truth, predicted = answers(4, samples=50)
    counts = np.random.default_rng(0).multinomial(50, np.full(50, 1 / 50))
    repeated = metrics.macro_f1(truth.repeat(counts), predicted.repeat(counts), 4)
    assert metrics.macro_f1(truth, predicted, 4, counts) == pytest.approx(repeated)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_auc_with_ties_is_sklearns(pairs: list[tuple[bool, int]]) -> None:
    positive = np.array([pair[0] for pair in pairs])
    scores = np.array([pair[1] / 6 for pair in pairs], np.float32)
    found = metrics.roc_auc(positive, scores)
    if positive.all() or not positive.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))


def test_auc_of_counts_is_sklearns_with_sample_weights() -> None:
    generator = np.random.default_rng(5)
    positive, scores = generator.random(80) < 0.4, generator.integers(0, 9, 80).astype(np.float32)
    counts = generator.multinomial(80, np.full(80, 1 / 80))
    expected = sklearn_metrics.roc_auc_score(positive, scores, sample_weight=counts)
    assert metrics.auc_of_counts(positive, scores)(counts) == pytest.approx(expected)


def test_roc_curve_is_sklearns() -> None:
    generator = np.random.default_rng(6)
    positive, scores = generator.random(80) < 0.4, generator.integers(0, 9, 80).astype(np.float32)
    false_rate, true_rate = metrics.roc_curve(positive, scores)
    expected_false, expected_true, _ = sklearn_metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected_false)
    np.testing.assert_allclose(true_rate, expected_true)


def test_ranks_count_the_classes_ahead_of_the_true_one() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4], [0.4, 0.2, 0.4]], np.float32)
    assert metrics.ranks(scores, np.array([2, 0, 2])).tolist() == [1, 0, 1]


def test_top_5_by_ranks_is_sklearns() -> None:
    generator = np.random.default_rng(7)
    scores, truth = generator.random((300, 20)).astype(np.float32), generator.integers(0, 20, 300)
    expected = sklearn_metrics.top_k_accuracy_score(truth, scores, k=5, labels=range(20))
    assert (metrics.ranks(scores, truth) < 5).mean() == pytest.approx(expected)


def test_bootstrap_of_a_mean_has_the_width_of_its_standard_error() -> None:
    values = np.random.default_rng(8).normal(size=400)
    interval = intervals.bootstrap(lambda counts: float(counts @ values / counts.sum()), 400, rounds=4000)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_bootstrap_with_one_seed_gives_one_interval() -> None:
    truth, predicted = answers(9)
    first, second = (
        intervals.bootstrap(lambda counts: metrics.macro_f1(truth, predicted, 4, counts), 200, rounds=50, seed=3)
        for _ in range(2)
    )
    assert first == second

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.data.masks import IGNORE
from mobilenets.evaluation.segment import metrics


def masks(classes: int, seed: int, shape: tuple[int, int] = (40, 50)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth with ignored pixels, and a prediction that is often right."""
    random = np.random.default_rng(seed)
    truth = np.kron(random.integers(0, classes, (shape[0] // 10, shape[1] // 10)), np.ones((10, 10))).astype(np.uint8)
    predicted = np.roll(truth, seed % 4, axis=1)
    truth[random.random(truth.shape) < 0.05] = IGNORE
    return truth, predicted


def test_the_confusion_and_all_that_follows_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    truth, predicted = masks(5, 3)
    counted = truth != IGNORE
    confusion = metrics.confusion(truth, predicted, 5)
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(truth[counted], predicted[counted], labels=range(5)))
    hits, support, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    expected = sklearn.jaccard_score(truth[counted], predicted[counted], average=None)
    np.testing.assert_allclose(metrics.ious(hits, support, called), expected)
    assert metrics.mean_iou(hits, support, called) == pytest.approx(expected.mean())
    recall = sklearn.balanced_accuracy_score(truth[counted], predicted[counted])
    assert metrics.mean_accuracy(hits, support) == pytest.approx(recall)


def test_an_image_larger_than_one_part_is_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = masks(4, 1)
    whole = metrics.confusion(truth, predicted, 4)
    monkeypatch.setattr(metrics, "_AT_ONCE", 77)
    np.testing.assert_array_equal(metrics.confusion(truth, predicted, 4), whole)


def test_a_class_that_does_not_occur_counts_in_no_mean() -> None:
    hits, support, called = np.array([6, 0, 0]), np.array([8, 0, 0]), np.array([7, 1, 0])
    ious = metrics.ious(hits, support, called)
    assert ious[:2].tolist() == [6 / 9, 0.0]
    assert np.isnan(ious[2])
    assert metrics.mean_iou(hits, support, called) == 6 / 9


def boundary_by_distance(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], k: int, radius: int) -> tuple[int, ...]:
    """Counts for one class by comparing every pair of boundary pixels."""

    def edge(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
        found = []
        for y, x in np.argwhere(mask == k):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                j, i = y + dy, x + dx
                if 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1] and mask[j, i] not in (k, IGNORE):
                    found.append((y, x))
                    break
        return np.array(found).reshape(-1, 2)

    one, other = edge(np.where(truth == IGNORE, np.uint8(IGNORE), predicted)), edge(truth)
    square = ((one[:, None] - other[None]) ** 2).sum(axis=2)
    near = square <= radius * radius
    return len(one), int(near.any(axis=1).sum()), len(other), int(near.any(axis=0).sum())


@pytest.mark.parametrize(("classes", "radius"), [(5, 1), (5, 4), (70, 3), (2, 60)])
def test_boundaries_agree_with_the_distances_of_every_pair_of_pixels(classes: int, radius: int) -> None:
    truth, predicted = masks(classes, 2)
    found = metrics.boundaries(truth, predicted, classes, radius=radius)
    for k in range(classes):
        counts = (found.predicted[k], found.predicted_hits[k], found.true[k], found.true_hits[k])
        assert counts == boundary_by_distance(truth, predicted, k, radius)


def test_equal_masks_have_equal_boundaries() -> None:
    truth, _ = masks(3, 0)
    scores = metrics.boundaries(truth, truth, 3, radius=1).f_scores
    assert scores.tolist() == [1, 1, 1]


def test_a_boundary_that_was_not_found_scores_nothing_and_none_at_all_is_no_score() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    scores = metrics.boundaries(truth, np.zeros_like(truth), 3, radius=1).f_scores
    assert scores[:2].tolist() == [0, 0]
    assert np.isnan(scores[2])


def test_the_tolerance_follows_the_diagonal() -> None:
    assert metrics.tolerance(360, 480) == 4  # 0.0075 * 600 = 4.5, to the even
    assert metrics.tolerance(10, 10) == 1


def test_means_leave_out_what_is_not_known() -> None:
    rows = np.array([[1.0, np.nan, np.nan], [0.0, 0.5, np.nan]])
    assert metrics.means(rows)[:2].tolist() == [0.5, 0.5]
    assert np.isnan(metrics.means(rows)[2])

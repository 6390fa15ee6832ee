from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.evaluation.detect.metrics import (
    Judged,
    Ranked,
    average_precision,
    average_precisions,
    confusion,
    curve,
    mean_average_precision,
    ranked,
    voc_11_points,
    voc_average_precision,
)
from mobilenets.evaluation.detect.thresholds import UNKNOWN_THRESHOLD, best_threshold
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.runtime.detect.decode import Detections

Row = tuple[int, float, tuple[float, float, float, float]]


def image(found: Sequence[Row], there: Sequence[tuple[int, tuple[float, float, float, float]]], difficult: int = 0) -> Judged:
    """What was found, and the objects, of which the last few are difficult."""
    detections = Detections(
        ("a", "b"),
        np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([kind for kind, _, _ in found], np.int64),
    )
    truth = Truth(
        np.array([box for _, box in there], np.float32).reshape(-1, 4),
        np.array([kind for kind, _ in there], np.int64),
        np.arange(len(there)) >= len(there) - difficult,
        np.zeros(len(there), np.bool_),
    )
    return detections, truth


def of_hits(hits: Sequence[bool], support: int, scores: Sequence[float] = ()) -> Ranked:
    """One class on one image."""
    falling = scores or np.linspace(0.9, 0.1, len(hits)).tolist()
    return Ranked(np.array(falling, np.float32), np.array(hits, np.bool_), np.zeros(len(hits), np.int64), np.array([support]))


SQUARE = (0.0, 0.0, 10.0, 10.0)
FAR = (50.0, 50.0, 60.0, 60.0)


def test_detections_of_all_images_are_ranked_together() -> None:
    judged = [
        image([(0, 0.9, SQUARE), (0, 0.3, FAR)], [(0, SQUARE), (1, FAR)]),
        image([(0, 0.8, SQUARE), (1, 0.6, FAR)], [(0, FAR), (1, FAR)]),
    ]
    first, second = ranked(judged, 2)
    assert first.scores.tolist() == pytest.approx([0.9, 0.8, 0.3])
    assert first.hits.tolist() == [True, False, False]
    assert first.images.tolist() == [0, 1, 0]
    assert (first.support, second.support) == (2, 2)
    assert second.hits.tolist() == [True]


def test_what_is_difficult_is_not_among_the_objects_and_its_detections_are_left_out() -> None:
    (first, _) = ranked([image([(0, 0.9, SQUARE)], [(0, SQUARE)], difficult=1)], 2)
    assert (len(first.scores), first.support) == (0, 0)


def test_the_best_100_of_a_class_on_an_image_count() -> None:
    rows = [(k, 1 - i / 300, FAR) for i in range(150) for k in (0, 1)]
    assert [len(one.scores) for one in ranked([image(rows, [])], 2)] == [100, 100]


def test_the_curve_by_hand() -> None:
    points = curve(of_hits([True, False, True], 4, [0.9, 0.5, 0.5]))
    assert points.scores.tolist() == pytest.approx([0.9, 0.5])
    assert points.precision.tolist() == pytest.approx([1, 2 / 3])
    assert points.recall.tolist() == pytest.approx([0.25, 0.5])
    assert points.f1.tolist() == pytest.approx([0.4, 4 / 7])


def test_average_precision_by_hand() -> None:
    # precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: the best from there on is 1 up to recall 1/2, then 2/3
    one = of_hits([True, False, True], 2)
    assert average_precision(one) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert voc_average_precision(one) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert voc_11_points(one) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_recall_that_is_never_reached_has_no_precision() -> None:
    one = of_hits([True], 2)
    assert average_precision(one) == pytest.approx(51 / 101)
    assert voc_average_precision(one) == pytest.approx(0.5)
    assert voc_11_points(one) == pytest.approx(6 / 11)


def test_a_tenth_is_reached_exactly() -> None:
    assert voc_11_points(of_hits([True] * 3, 10)) == pytest.approx(4 / 11)  # 3/10 in floats is above 0.3


def test_nothing_found_is_0_and_nothing_there_is_not_a_number() -> None:
    for measure in (average_precision, voc_average_precision, voc_11_points):
        assert measure(of_hits([], 3)) == 0
        assert np.isnan(measure(of_hits([False], 0)))
    assert mean_average_precision([of_hits([True], 1), of_hits([], 1), of_hits([False], 0)]) == 0.5
    assert np.isnan(mean_average_precision([of_hits([], 0)]))


@settings(max_examples=60, deadline=None)
@given(hits=st.lists(st.booleans(), max_size=40), extra=st.integers(0, 9))
def test_voc_is_the_development_kits_loop(hits: list[bool], extra: int) -> None:
    support = sum(hits) + extra
    if not support:
        return
    recall, precision, found = [0.0], [0.0], 0
    for n, hit in enumerate(hits, start=1):  # as VOCevaldet.m accumulates
        found += hit
        recall.append(found / support)
        precision.append(found / n)
    recall.append(1.0)
    precision.append(0.0)
    best = precision.copy()
    for i in range(len(best) - 2, -1, -1):
        best[i] = max(best[i], best[i + 1])
    area = sum((recall[i] - recall[i - 1]) * best[i] for i in range(1, len(recall)))
    points = (
        sum(max([p for r, p in zip(recall, precision, strict=True) if r * 10 >= t - 1e-9], default=0) for t in range(11)) / 11
    )
    assert voc_average_precision(of_hits(hits, support)) == pytest.approx(area)
    assert voc_11_points(of_hits(hits, support)) == pytest.approx(points)


def test_an_image_that_counts_twice_is_as_one_that_is_there_twice() -> None:
    generator = np.random.default_rng(0)
    one = [image([(0, s, SQUARE), (0, s / 2, FAR)], [(0, SQUARE if s > 0.5 else FAR)]) for s in generator.uniform(0.1, 1, 9)]
    counts = generator.integers(0, 4, 9)
    many = [judged for judged, count in zip(one, counts, strict=True) for _ in range(count)]
    expected = average_precision(ranked(many, 1)[0])
    assert average_precision(ranked(one, 1)[0], counts) == pytest.approx(expected, abs=0.02)  # equal scores in another order


def test_draws_of_images_at_once_are_the_draws_one_by_one() -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 12, 80)
    ranked_one = Ranked(
        -np.sort(-generator.random(80)).astype(np.float32), generator.random(80) < 0.5, images, generator.integers(0, 9, 12)
    )
    counts = np.stack([generator.multinomial(12, np.full(12, 1 / 12)) for _ in range(30)])
    counts[7] = 0
    expected = [average_precision(ranked_one, drawn) for drawn in counts]
    np.testing.assert_allclose(average_precisions(ranked_one, counts), expected, atol=1e-9)


def test_the_best_threshold_lies_between_the_last_score_that_counts_and_the_next() -> None:
    # F1 after each: 2/3, 4/5 * ..., by hand 2*1/(1+3), 2*2/(2+3), 2*2/(3+3), 2*2/(4+3)
    assert best_threshold(of_hits([True, True, False, False], 3, [0.9, 0.7, 0.3, 0.2])) == pytest.approx(0.5)
    assert best_threshold(of_hits([True], 1, [0.4])) == pytest.approx(0.2)
    assert best_threshold(of_hits([False], 1)) == UNKNOWN_THRESHOLD
    assert best_threshold(of_hits([], 0)) == UNKNOWN_THRESHOLD


def test_the_confusion_matrix_has_background_and_misses() -> None:
    judged = [
        image(
            [(0, 0.9, SQUARE), (0, 0.8, FAR), (1, 0.7, (20, 20, 30, 30)), (1, 0.2, SQUARE)],
            [(0, SQUARE), (1, FAR), (1, (80, 80, 90, 90))],
        ),
        image([(0, 0.9, SQUARE)], [(0, SQUARE)], difficult=1),
    ]
    # a found; b found as a; one b missed; one b where nothing is; 0.2 is below its threshold; difficult counts nowhere
    assert confusion(judged, 2, (0.5, 0.5)).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]

from __future__ import annotations

import numpy as np
import pytest

from mobilenets.evaluation.detect.metrics import Judged
from mobilenets.evaluation.detect.thresholds import UNKNOWN_THRESHOLD, fit_thresholds
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.runtime.detect.decode import Detections

BOX, ELSEWHERE = (0, 0, 10, 10), (50, 50, 60, 60)


def image(*scores: tuple[int, float, bool], classes: int = 2) -> Judged:
    """An object of each class at the same place; detections are class, score and whether they find it."""
    ordered = sorted(scores, key=lambda row: -row[1])
    boxes = np.array([BOX if hit else ELSEWHERE for _, _, hit in ordered], np.float32).reshape(-1, 4)
    found = Detections(
        tuple("abcdef"[:classes]),
        boxes,
        np.array([score for _, score, _ in ordered], np.float32),
        np.array([kind for kind, _, _ in ordered], np.int64),
    )
    clear = np.zeros(classes, np.bool_)
    return found, Truth(np.array([BOX] * classes, np.float32), np.arange(classes), clear, clear)


def test_a_class_with_scores_of_its_own_gets_its_own_threshold() -> None:
    generator = np.random.default_rng(0)
    judged = [
        image(
            (0, generator.uniform(0.8, 0.9), True),
            (0, generator.uniform(0.6, 0.7), False),
            (1, generator.uniform(0.3, 0.4), True),
            (1, generator.uniform(0.1, 0.2), False),
        )
        for _ in range(30)
    ]
    first, second = fit_thresholds(judged, 2)
    assert 0.7 <= first < 0.8
    assert 0.2 <= second < 0.3


def test_classes_alike_share_a_threshold() -> None:
    generator = np.random.default_rng(0)
    judged = [
        image(*((k, generator.uniform(*((0.3, 0.4) if hit else (0.1, 0.2))), hit) for k in (0, 1) for hit in (True, False)))
        for _ in range(30)
    ]
    first, second = fit_thresholds(judged, 2)
    assert first == second
    assert 0.2 <= first < 0.3


@pytest.mark.parametrize("images", [0, 1])
def test_a_threshold_that_cannot_be_held_out_is_not_fitted(images: int) -> None:
    judged = [image((0, 0.9, True), (1, 0.2, True))] * images
    assert fit_thresholds(judged, 2) == (UNKNOWN_THRESHOLD,) * 2


def test_scores_that_say_nothing_do_not_move_the_threshold() -> None:
    """Right and wrong detections score alike around 0.5, so that the best threshold of a few images is chance."""
    judged = [image((0, score, hit), classes=1) for score, hit in ((0.9, True), (0.8, True), (0.3, False), (0.2, False))]
    assert fit_thresholds(judged, 1) == (UNKNOWN_THRESHOLD,)

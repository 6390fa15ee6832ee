from __future__ import annotations

import numpy as np

from mobilenets.data.boxes import Box
from mobilenets.evaluation.detect.truth import FALSE, IGNORED, Truth, judge, match, match_voc, truth_of
from mobilenets.runtime.detect.decode import Detections

Corners = tuple[float, float, float, float]


def thing(label: int, corners: Corners, *, difficult: bool = False, crowd: bool = False) -> Box:
    return Box(label, *corners, difficult, crowd)


def found(*rows: tuple[int, float, Corners]) -> Detections:
    """Class, score and box of each."""
    return Detections(
        ("a", "b"),
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([kind for kind, _, _ in rows], np.int64),
    )


def truth(*objects: Box) -> Truth:
    return truth_of(objects, (0, 1))


SQUARE: Corners = (0, 0, 10, 10)
FAR: Corners = (50, 50, 60, 60)


def test_labels_are_numbered_as_the_models_and_boxes_without_area_are_left_out() -> None:
    made = truth_of([thing(0, SQUARE), thing(1, (5, 5, 5, 9)), thing(1, (9, 9, 5, 5))], (7, 3))
    assert (made.classes.tolist(), made.dropped, len(made)) == ([7], 2, 1)


def test_the_highest_score_finds_an_object_and_the_next_is_false() -> None:
    detections = found((0, 0.9, SQUARE), (0, 0.8, SQUARE), (1, 0.7, SQUARE))
    assert match(detections, truth(thing(0, SQUARE))).tolist() == [0, FALSE, FALSE]


def test_a_second_detection_finds_the_next_best_object_in_coco_and_none_in_voc() -> None:
    near: Corners = (0, 0, 10, 12)
    there = truth(thing(0, SQUARE), thing(0, near))
    detections = found((0, 0.9, SQUARE), (0, 0.8, SQUARE))
    assert match(detections, there).tolist() == [0, 1]
    assert match_voc(detections, there).tolist() == [0, FALSE]


def test_an_overlap_of_just_a_half_finds() -> None:
    half = found((0, 0.9, (0, 0, 10, 5)))
    assert match(half, truth(thing(0, SQUARE))).tolist() == [0]
    assert match_voc(half, truth(thing(0, SQUARE))).tolist() == [0]
    assert match(half, truth(thing(0, SQUARE)), 0.51).tolist() == [FALSE]


def test_a_difficult_object_counts_neither_way() -> None:
    there = truth(thing(0, SQUARE, difficult=True))
    assert match(found((0, 0.9, SQUARE)), there).tolist() == [IGNORED]
    assert match_voc(found((0, 0.9, SQUARE), (0, 0.8, SQUARE)), there).tolist() == [IGNORED, IGNORED]


def test_a_real_object_is_found_before_one_that_is_ignored() -> None:
    there = truth(thing(0, SQUARE, difficult=True), thing(0, (0, 0, 10, 8)))
    assert match(found((0, 0.9, SQUARE)), there).tolist() == [1]


def test_any_number_of_detections_lies_in_a_crowd() -> None:
    there = truth(thing(0, (0, 0, 100, 100), crowd=True))
    inside = found((0, 0.9, SQUARE), (0, 0.8, FAR), (0, 0.7, (95, 0, 105, 10)), (0, 0.6, (96, 0, 106, 10)))
    assert match(inside, there).tolist() == [IGNORED, IGNORED, IGNORED, FALSE]  # half of the third lies in it


def test_what_was_taken_for_something_else_is_paired_last() -> None:
    there = truth(thing(0, SQUARE), thing(1, FAR), thing(0, (80, 80, 90, 90)))
    detections = found((1, 0.9, SQUARE), (0, 0.8, SQUARE), (0, 0.7, FAR), (0, 0.6, (20, 20, 30, 30)))
    which, by = judge(detections, there)
    assert which.tolist() == [FALSE, 0, 1, FALSE]
    assert by.tolist() == [1, 2, FALSE]


def test_nothing_there_and_nothing_found() -> None:
    assert match(found(), truth(thing(0, SQUARE))).tolist() == []
    assert match(found((0, 0.9, SQUARE)), truth()).tolist() == [FALSE]
    assert match_voc(found((0, 0.9, SQUARE)), truth()).tolist() == [FALSE]
    which, by = judge(found((0, 0.9, SQUARE)), truth())
    assert (which.tolist(), by.tolist()) == ([FALSE], [])
    which, by = judge(found(), truth(thing(0, SQUARE), thing(0, SQUARE, crowd=True)))
    assert (which.tolist(), by.tolist()) == ([], [FALSE, IGNORED])

from __future__ import annotations

import json

import numpy as np

from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.reports import record
from mobilenets.reports.classify import report as classify


def report_of(truth: list[int], predicted: list[int]) -> Report:
    scores = np.full((len(truth), 3), 0.1, np.float32)
    scores[np.arange(len(truth)), predicted] = 0.8
    names = tuple(f"{i}|x.jpg" for i in range(len(truth)))
    return Report("m", ("a", "b", "c"), names, np.array(truth), np.log(scores), scores, 1.0)


def test_what_cannot_be_computed_is_null_in_json() -> None:
    context = {"Run": {"loss": float("nan"), "steps": (1, 2)}}
    text = record.to_json(report_of([0], [0]), title="t", context=context, next_command="", worst=1)
    assert json.loads(text)["context"] == {"Run": {"loss": None, "steps": [1, 2]}}
    assert "NaN" not in text


def test_the_pairs_most_often_confused_come_first() -> None:
    report = report_of([0, 0, 0, 1, 1, 2], [1, 1, 0, 2, 1, 2])
    assert classify.confused(report) == [("a", "b", 2), ("b", "c", 1)]


def test_the_subtitle_counts_classes_that_occur() -> None:
    assert classify.subtitle(report_of([0, 1], [0, 1])) == "m on 2 images of 2 of 3 classes"

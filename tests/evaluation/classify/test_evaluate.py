from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mobilenets
from mobilenets.data.samples import Dataset, Sample
from mobilenets.data.spelling import spelled_as
from mobilenets.errors import DataError, UnknownNameError
from mobilenets.evaluation.classify.evaluate import Report, evaluate_classification
from mobilenets.evaluation.intervals import wilson
from mobilenets.evaluation.metric import label_columns
from mobilenets.runtime.predictor import Predictor

LABELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Colored(Sample):
    """A sample whose image is of one color, without a file."""

    color: str = ""

    def read(self) -> bytes:
        if self.color == "gone":
            raise FileNotFoundError(2, "No such file or directory")
        buffer = io.BytesIO()
        Image.new("RGB", (20, 30), self.color).save(buffer, "PNG")
        return buffer.getvalue()


def answered(name: str, label: int, color: str) -> Colored:
    return Colored(Path(name), label, "test", name=name, color=color)


def report_of(logits: NDArray[np.float32], truth: Sequence[int], labels: Sequence[str]) -> Report:
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"{i}.jpg" for i in range(len(truth)))
    return Report("m", tuple(labels), names, np.array(truth), logits, scores.astype(np.float32), 1.0)


def test_labels_of_the_data_are_matched_by_name(color_model: Path) -> None:
    samples = [answered("a", 0, "blue"), answered("b", 1, "red"), answered("c", 1, "red")]
    report = evaluate_classification(Predictor.open(color_model), samples, ("blue", "red"))
    assert report.metric("top1").value == 1
    assert [(row.name, row.truth, row.predicted) for row in report.rows()] == [
        ("a", "blue", "blue"),
        ("b", "red", "red"),
        ("c", "red", "red"),
    ]


def test_the_public_evaluate_measures_classifiers(color_model: Path) -> None:
    report = mobilenets.evaluate(Predictor.open(color_model), [answered("a", 0, "red")], LABELS)
    assert isinstance(report, Report)
    assert report.metric("top1").value == 1


def test_a_label_the_model_does_not_know_is_named() -> None:
    with pytest.raises(DataError, match="the data has 'rot', which the model does not know; it knows 'red', 'green', 'blue'"):
        label_columns(("blue", "rot"), LABELS)


def test_a_label_that_differs_in_case_alone_is_named_as_that() -> None:
    with pytest.raises(DataError, match="the data has 'Red', and the model labels that differ only in case") as caught:
        label_columns(("blue", "Red"), LABELS)
    assert "'Red' is 'red'" in caught.value.hint


def test_labels_are_renamed_to_the_models_only_where_one_is_meant() -> None:
    samples = (Sample(Path("a.png"), 0, "test"),)
    renamed = spelled_as(Dataset(("RED", "Green", "green", "light-blue"), samples), ("red", "green", "light blue"))
    assert renamed.labels == ("red", "Green", "green", "light blue")
    assert "'RED' is 'red', 'light-blue' is 'light blue'" in renamed.notes[-1]
    assert spelled_as(Dataset(("Red",), samples), ("red", "RED")).labels == ("Red",)


def test_what_cannot_be_read_is_named_and_counts_nowhere(color_model: Path) -> None:
    samples = [answered("a", 0, "red"), answered("b", 1, "gone"), answered("c", 2, "red")]
    report = evaluate_classification(Predictor.open(color_model), samples, LABELS)
    assert report.unreadable == (("b", "No such file or directory"),)
    assert (len(report), report.metric("top1").value, report.truth.tolist()) == (2, 0.5, [0, 2])


def test_a_set_of_which_nothing_can_be_read_is_refused(color_model: Path) -> None:
    with pytest.raises(DataError, match="none of the 1 images could be read; 'b': No such file"):
        evaluate_classification(Predictor.open(color_model), [answered("b", 1, "gone")], LABELS)


def test_an_empty_set_is_refused(color_model: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        evaluate_classification(Predictor.open(color_model), [], LABELS)


def test_progress_counts_every_image(color_model: Path) -> None:
    done: list[int] = []
    samples = [answered("a", 0, "red"), answered("b", 1, "gone"), answered("c", 2, "red")]
    evaluate_classification(Predictor.open(color_model), samples, LABELS, progress=done.append)
    assert sum(done) == 3


def test_worst_mistakes_are_the_wrong_ones_with_the_highest_scores() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.05, 0.95], [0.6, 0.4]], np.float32))
    report = report_of(logits, [1, 0, 0, 1, 1], ("a", "b"))
    assert [(row.name, row.truth, row.predicted, round(row.score, 3)) for row in report.worst(2)] == [
        ("0.jpg", "b", "a", 0.9),
        ("2.jpg", "a", "b", 0.7),
    ]


def test_metrics_of_two_classes_by_hand() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.05, 0.95]], np.float32))
    report = report_of(logits, [1, 0, 0, 1], ("good", "bad"))
    assert [metric.name for metric in report.metrics] == ["top1", "balanced_accuracy", "macro_f1", "roc_auc", "nll", "ece"]
    assert report.metric("top1").value == 0.5
    assert report.metric("top1").interval == wilson(2, 4)
    assert report.metric("roc_auc").value == 0.5  # of the four pairs, 0.95 beats both and 0.1 loses to both
    assert report.metric("nll").value == pytest.approx(-np.log([0.1, 0.8, 0.3, 0.95]).mean())
    # four bins with one image each: |0 - 0.9|, |1 - 0.8|, |0 - 0.7|, |1 - 0.95|
    assert report.metric("ece").value == pytest.approx((0.9 + 0.2 + 0.7 + 0.05) / 4)
    assert report.confusion.tolist() == [[1, 1], [1, 1]]


def test_the_likelihood_is_that_of_the_tempered_scores() -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    scores = np.array([[np.e, 1.0]], np.float32) / (np.e + 1)
    report = Report("m", ("a", "b"), ("x",), np.array([0]), logits, scores.astype(np.float32), 2.0)
    assert report.metric("nll").value == pytest.approx(-np.log(np.e / (np.e + 1)))


def test_calibration_error_is_told_before_and_after_the_temperature() -> None:
    logits = np.array([[2.0, 0.0]] * 2, np.float32)  # score 0.881 at temperature 1
    scores = np.array([[0.5, 0.5]] * 2, np.float32) + np.array([1e-6, 0], np.float32)
    report = Report("m", ("a", "b"), ("x", "y"), np.array([0, 1]), logits, scores, 9.0)
    assert report.metric("ece").value == pytest.approx(0, abs=1e-5)
    assert "38.1% before dividing the logits by the temperature 9.00" in report.metric("ece").note


def test_top_5_appears_with_more_than_five_classes() -> None:
    logits = np.eye(7, dtype=np.float32)
    report = report_of(logits, range(7), "abcdefg")
    assert report.metric("top5").value == 1
    with pytest.raises(UnknownNameError):
        report.metric("roc_auc")


def test_auc_is_left_out_when_one_class_does_not_occur() -> None:
    report = report_of(np.zeros((2, 2), np.float32), [1, 1], ("a", "b"))
    assert "roc_auc" not in [metric.name for metric in report.metrics]
    assert json.dumps([metric.value for metric in report.metrics])


def test_every_interval_holds_its_value() -> None:
    generator = np.random.default_rng(0)
    report = report_of(generator.normal(size=(100, 2)).astype(np.float32), generator.integers(0, 2, 100).tolist(), ("a", "b"))
    for metric in report.metrics:
        assert metric.interval is None or metric.interval.low <= metric.value <= metric.interval.high

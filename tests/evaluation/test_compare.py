from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import DataError, UnknownNameError
from mobilenets.evaluation.compare import FIGURES, Measured, compare
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.evaluation.intervals import bootstrap, wilson
from mobilenets.reports.stored import measured_of
from mobilenets.runtime.detect.decode import Detections


def classifier(name: str, right: list[bool], names: list[str] | None = None, *, loss: float = 0.5) -> Measured:
    """Two classes in turn."""
    truth = np.arange(len(right)) % 2
    arrays = {"truth": truth, "predicted": np.where(right, truth, 1 - truth), "loss": np.full(len(right), loss)}
    return Measured(name, "classify", ("a", "b"), tuple(names or [f"{i}.jpg" for i in range(len(right))]), arrays)


def detector(name: str, found: NDArray[np.bool_], labels: tuple[str, ...] = ("a",)) -> DetectionReport:
    """One object in each image, found or not."""
    judged = []
    for i, hit in enumerate(found.tolist()):
        box = np.array([[0, 0, 50, 50]], np.float32)
        shown = Detections(labels, box if hit else box + 200, np.array([0.9 - i / 1000], np.float32), np.zeros(1, np.int64))
        clear = np.zeros(1, np.bool_)
        judged.append((shown, Truth(box, np.zeros(1, np.int64), clear, clear)))
    return DetectionReport(name, labels, tuple(f"{i}.jpg" for i in range(len(found))), tuple(judged))


def test_the_difference_is_paired_and_smaller_than_two_intervals_would_show() -> None:
    first = classifier("first", [True] * 80 + [False] * 20)
    second = classifier("second", [True] * 90 + [False] * 10)  # right wherever the first is, and ten times more
    result = compare([first, second])
    base, other = result.rows
    assert (base.value, other.value, other.difference) == pytest.approx((0.8, 0.9, 0.1))
    assert base.interval == wilson(80, 100)
    assert base.interval is not None
    assert other.interval is not None
    assert base.interval.high > other.interval.low  # unpaired, they overlap
    assert other.paired is not None
    assert 0.04 <= other.paired.low < 0.1 < other.paired.high <= 0.17
    assert other.verdict == "better"
    assert (base.verdict, base.paired) == ("", None)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 3), (1, 9), (12, 2)])
def test_p_of_accuracy_is_the_binomial_test_of_scipy(only_first: int, only_second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    first = classifier("first", [True] * only_first + [False] * only_second + [True] * 30)
    second = classifier("second", [False] * only_first + [True] * only_second + [True] * 30)
    total = only_first + only_second
    expected = stats.binomtest(only_second, total).pvalue if total else 1.0
    assert compare([first, second]).rows[1].p == pytest.approx(expected)


def test_a_lower_likelihood_loss_is_better() -> None:
    right = [True, False] * 20
    first, second = classifier("a", right), classifier("b", right)
    better = replace(second, arrays={**second.arrays, "loss": second.arrays["loss"] * np.linspace(0.1, 0.9, 40)})
    result = compare([first, better], "nll")
    assert not result.rising
    assert result.rows[1].difference == pytest.approx(-0.25)
    assert result.rows[1].verdict == "better"


def test_only_images_that_all_were_measured_on_count() -> None:
    first = classifier("a", [True] * 4 + [False] * 2, list("uvwxyz"))
    second = classifier("b", [True] * 4, list("wxuv"))
    result = compare([first, second])
    assert (result.images, result.left_out) == (4, 2)
    assert [row.value for row in result.rows] == [1, 1]


@pytest.mark.parametrize("metric", FIGURES["classify"])
def test_a_model_does_not_differ_from_itself(metric: str) -> None:
    model = classifier("a", [True, False, True, True] * 9)
    row = compare([model, model], metric).rows[1]
    assert (row.difference, row.verdict, row.p) == (0, "no clear difference", 1)


def test_detectors_are_compared_by_the_map_of_their_reports() -> None:
    generator = np.random.default_rng(0)
    found = generator.random(60) < 0.5
    better = found | (generator.random(60) < 0.6)
    reports = [detector("a", found), detector("b", better)]
    result = compare([measured_of(report, report.model) for report in reports])
    assert [row.value for row in result.rows] == pytest.approx([report.metric("map").value for report in reports])
    assert result.rows[0].interval == reports[0].metric("map").interval
    assert result.rows[1].verdict == "better"
    half = compare([measured_of(reports[0], "a"), measured_of(detector("c", better[:30]), "c")])
    assert (half.images, half.left_out) == (30, 30)
    assert half.rows[0].value == pytest.approx(detector("a", found[:30]).metric("map").value)


def test_segmenters_are_compared_by_mean_iou() -> None:
    def segmenter(name: str, hits: list[list[int]]) -> Measured:
        support = np.full((len(hits), 2), 10)
        own = np.array(hits)
        predicted = own + (10 - own)[:, ::-1]  # what is missed of one class is predicted as the other
        arrays: dict[str, NDArray[Any]] = {"hits": own, "support": support, "predicted": predicted}
        return Measured(name, "segment", ("a", "b"), tuple(str(i) for i in range(len(hits))), arrays)

    first, second = segmenter("a", [[10, 10], [5, 10]]), segmenter("b", [[10, 10], [10, 10]])
    result = compare([first, second])
    # of a: hits 15 of 15 + 5 missed; of b: 20 hits, predicted 25
    assert result.rows[0].value == pytest.approx((15 / 20 + 20 / 25) / 2)
    assert result.rows[1].value == 1
    assert compare([first, second], "pixel_accuracy").rows[0].value == pytest.approx(35 / 40)


def test_the_same_seed_draws_the_same_images() -> None:
    statistic = lambda counts: float(counts[0])  # noqa: E731
    assert bootstrap(statistic, 9) == bootstrap(statistic, 9)


def test_what_cannot_be_compared_is_refused_by_name() -> None:
    first = classifier("a", [True, True])
    with pytest.raises(DataError, match="'a' and 'b' were not measured on the same images"):
        compare([first, classifier("b", [True, True], ["x", "y"])])
    with pytest.raises(DataError, match="'a' is a classification model, but 'b' is a detection model"):
        compare([first, measured_of(detector("b", np.array([True, False])), "b")])
    with pytest.raises(UnknownNameError, match="unknown metric 'top'"):
        compare([first, first], "top")
    other = Measured("b", "classify", ("b", "a"), first.names, first.arrays)
    with pytest.raises(DataError, match=r"'a' and 'b' were measured on other answers for 2 of 2 images, such as '0\.jpg'"):
        compare([first, other])


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ([True, False] * 3, [True, False] * 3, -0.39, 0.39),  # Wilson: 0 of 6 is 0 to 0.390
        ([False] * 2, [True] * 2, 0.34, 1.0),  # Wilson: 2 of 2 is 0.342 to 1
        ([True] * 2, [False] * 2, -1.0, -0.34),
    ],
)
def test_few_images_that_all_say_the_same_leave_a_wide_interval(
    first: list[bool], second: list[bool], low: float, high: float
) -> None:
    row = compare([classifier("a", first), classifier("b", second)]).rows[1]
    assert row.paired is not None
    assert (row.paired.low, row.paired.high) == pytest.approx((low, high), abs=0.003)
    assert row.verdict == "no clear difference"  # two images have p = 0.5


def test_the_verdict_does_not_contradict_the_exact_test() -> None:
    first, second = [True] * 4 + [False] * 4, [True] * 8  # 4 images, all for the second: p = 0.125
    row = compare([classifier("a", first), classifier("b", second)]).rows[1]
    assert row.paired is not None
    assert row.paired.low > 0
    assert row.p == pytest.approx(0.125)
    assert row.verdict == "no clear difference"


def test_images_that_are_all_right_have_no_bootstrap_interval() -> None:
    """Draws of right images are right, which says nothing about how many others are wrong."""
    interval = bootstrap(lambda counts: float(counts.sum()) / 8, 8)
    assert np.isnan([interval.low, interval.high]).all()


def test_a_single_image_is_too_few_and_not_called_another() -> None:
    with pytest.raises(DataError, match=r"'a' and 'b' have only 1 image in common, '0\.jpg', and at least 2 are needed"):
        compare([classifier("a", [True]), classifier("b", [False])])

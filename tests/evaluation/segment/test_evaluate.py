from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mobilenets
from mobilenets.data.masks import Mask
from mobilenets.data.samples import Sample
from mobilenets.errors import DataError
from mobilenets.evaluation.segment import evaluate as segment_evaluation
from mobilenets.evaluation.segment.evaluate import SegmentationReport, evaluate_segmentation
from mobilenets.runtime.predictor import Predictor

LABELS = ("red", "green", "blue")
Make = Callable[..., Predictor]
Encode = Callable[[NDArray[np.uint8]], bytes]


@dataclass(frozen=True)
class Pixels(Mask):
    """A mask without a file."""

    pixels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def read(self) -> NDArray[np.uint8]:
        return self.pixels


@dataclass(frozen=True)
class Encoded(Sample):
    """An image without a file."""

    data: bytes = b""

    def read(self) -> bytes:
        return self.data


def photo(name: str, data: bytes, mask: Mask | None) -> Encoded:
    return Encoded(Path(name), -1, "test", name=name, mask=mask, data=data)


def flag(png: Encode, name: str, left: int, right: int, truth: NDArray[np.uint8] | None = None) -> Encoded:
    """An image 32 x 32 of one pure color on the left and one on the right; its truth is just that, or the one given."""
    classes = np.full((32, 32), left, np.uint8)
    classes[:, 16:] = right
    pixels = np.eye(3, dtype=np.uint8)[classes] * 255
    return photo(name, png(pixels), Pixels(pixels=classes if truth is None else truth))


@pytest.fixture
def report(segmenter: Make, png: Encode) -> SegmentationReport:
    """Of two images: one all right, one of which a quarter is wrong and a quarter ignored."""
    truth = np.full((32, 32), 1, np.uint8)
    truth[:16, 16:] = 2  # predicted green and blue in halves: the lower right is wrong
    truth[:8, :16] = 255
    images = [flag(png, "a", 0, 1), flag(png, "b", 1, 2, truth)]
    return evaluate_segmentation(segmenter(32, 32), images, LABELS)


def test_the_figures_are_those_of_a_hand_calculation(report: SegmentationReport) -> None:
    # red 512 of 512; green: truth 512 + 640, predicted 512 + 384, both 896; blue: truth 256, predicted 512, both 256
    assert report.confusion.tolist() == [[512, 0, 0], [0, 896, 256], [0, 0, 256]]
    assert [row.iou for row in report.classes] == pytest.approx([1, 896 / 1152, 256 / 512])
    assert report.metric("miou").value == pytest.approx((1 + 896 / 1152 + 0.5) / 3)
    assert report.metric("pixel_accuracy").value == pytest.approx(1664 / 1920)
    assert report.metric("mean_accuracy").value == pytest.approx((1 + 896 / 1152 + 1) / 3)
    assert [(row.pixels, row.images) for row in report.classes] == [(512, 1), (1152, 2), (256, 1)]


def test_the_public_evaluate_measures_segmenters(segmenter: Make, png: Encode) -> None:
    report = mobilenets.evaluate(segmenter(32, 32), [flag(png, "a", 0, 1)], LABELS)
    assert isinstance(report, SegmentationReport)
    assert report.metric("pixel_accuracy").value == 1


def test_intervals_hold_their_values(report: SegmentationReport) -> None:
    for metric in report.metrics:
        assert metric.interval is not None
        assert metric.interval.low <= metric.value <= metric.interval.high


def test_the_worst_image_comes_first_with_its_masks(report: SegmentationReport) -> None:
    assert [row.name for row in report.worst()] == ["b", "a"]
    assert report.worst()[0].mean_iou == pytest.approx((384 / 640 + 0.5) / 2)
    assert report.worst()[0].accuracy == pytest.approx(640 / 896)
    assert report.kept["b"].truth.shape == report.kept["b"].predicted.shape == (32, 32)


def test_boundaries_that_agree_score_1(segmenter: Make, png: Encode) -> None:
    found = evaluate_segmentation(segmenter(32, 32), [flag(png, "a", 0, 1)], LABELS)
    assert found.metric("boundary_f").value == 1
    without = evaluate_segmentation(segmenter(32, 32), [flag(png, "a", 0, 1)], LABELS, boundaries=False)
    assert "boundary_f" not in {metric.name for metric in without.metrics}


def test_labels_are_matched_by_name(segmenter: Make, png: Encode) -> None:
    image = flag(png, "a", 0, 2, np.tile(np.repeat(np.array([1, 0], np.uint8), 16), (32, 1)))
    found = evaluate_segmentation(segmenter(32, 32), [image], ["blue", "red"])
    assert found.metric("pixel_accuracy").value == 1
    with pytest.raises(DataError, match="'sky', which the model does not know"):
        evaluate_segmentation(segmenter(32, 32), [image], ["sky"])


def test_what_cannot_be_compared_is_named_and_counts_nowhere(segmenter: Make, png: Encode) -> None:
    good = flag(png, "good", 0, 1)
    images = [
        photo("broken", b"no image", good.mask),
        good,
        flag(png, "small", 0, 1, np.zeros((8, 16), np.uint8)),
        photo("bare", good.data, None),
    ]
    done: list[int] = []
    found = evaluate_segmentation(segmenter(32, 32), images, LABELS, progress=done.append)
    assert found.names == ("good",)
    assert [name for name, _ in found.unreadable] == ["broken", "small", "bare"]
    assert found.unreadable[1][1] == "its mask is 16 x 8 px, but the image is 32 x 32"
    assert sum(done) == 4
    with pytest.raises(DataError, match="none of the 1 images"):
        evaluate_segmentation(segmenter(32, 32), images[:1], LABELS)


def test_only_the_worst_and_the_best_are_kept_and_small(segmenter: Make, png: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_evaluation, "KEPT", 2)
    monkeypatch.setattr(segment_evaluation, "KEPT_SIDE", 8)
    images = []
    for i in range(6):  # the higher, the more is wrong
        truth = np.zeros((32, 32), np.uint8)
        truth[:, 16 - 3 * i :] = 1
        images.append(flag(png, str(i), 0, 1, truth))
    found = evaluate_segmentation(segmenter(32, 32), images, LABELS)
    assert set(found.kept) == {"0", "1", "4", "5"}
    assert found.kept["5"].truth.shape == (8, 8)
    assert [row.name for row in found.worst(2)] == ["5", "4"]
    assert [row.name for row in found.best(2)] == ["0", "1"]

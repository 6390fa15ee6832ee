"""What counts as the same prediction, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mobilenets.exporters.agreement import compare_classes, compare_detections, compare_labels
from mobilenets.exporters.parity import differences
from mobilenets.runtime.engines.base import Outputs
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract
from mobilenets.specs.ssd import SsdHead

CONTRACT = InputContract(size=4, resize="stretch", crop=1.0)


def logits(*rows: list[float]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {"logits": np.array(rows, np.float32)}


@pytest.mark.parametrize(
    ("found", "differing"),
    [
        ([4.0, 3.0, 0.0], 0),
        ([3.0, 3.1, 0.0], 1),  # the model is sure by 1, a quarter of its largest logit
        ([3.0, 0.0, 9.0], 1),
    ],
)
def test_a_first_label_differs_beyond_a_near_tie(found: list[float], differing: int) -> None:
    manifest = Manifest("m", ("a", "b", "c"), CONTRACT)
    pairs = [(logits([4.0, 3.0, 0.0], [0.0, 0.0, 1.0]), logits(found, [0.0, 0.0, 1.0]))]
    _, agreement = compare_labels(pairs, manifest, tolerance=0.1)
    assert (agreement.differing, agreement.total, agreement.unit) == (differing, 2, "images")
    assert agreement.passed is not bool(differing)
    _, loose = compare_labels(pairs, manifest, tolerance=0.2 if differing and found[2] < 9 else 0.6)
    assert loose.differing == 0


def test_pixels_are_counted_at_the_size_of_the_input() -> None:
    manifest = Manifest("m", ("a", "b"), CONTRACT, DeepLabHead())
    one = np.zeros((1, 2, 4, 4), np.float32)
    one[0, 0] = 1
    other = one.copy()
    other[0, 1, 0, :3] = 2
    _, agreement = compare_classes([({"logits": one}, {"logits": other})], manifest)
    assert (agreement.differing, agreement.total, agreement.tolerance) == (3, 16, 0.001)
    _, classes = compare_classes([({"logits": one}, {"classes": other.argmax(1).astype(np.uint8)})], manifest, tolerance=0.2)
    assert (classes.differing, classes.tolerance, classes.passed) == (3, 0.2, True)


def test_boxes_match_by_class_and_place() -> None:
    head = SsdHead(maps=("s32",), strides=(32,), anchors=(((1 / 3, 1.0),),), extras=())
    manifest = Manifest("m", ("a", "b"), InputContract(size=100, resize="stretch", crop=1.0), head)
    boxes = np.array([[[10, 10, 50, 50], [60, 60, 90, 90]]], np.float32)
    one: Outputs = {"boxes": boxes, "scores": np.array([[0.9, 0.8]], np.float32), "classes": np.array([[0, 1]], np.float32)}
    other: Outputs = {
        "location": boxes[:, :, [1, 0, 3, 2]] / np.float32(100),
        "score": np.array([[0.9, 0.7]], np.float32),
        "category": np.array([[0, 1]], np.float32),
        "number of detections": np.array([2], np.float32),
    }
    (worst,), agreement = compare_detections([(one, other)], manifest)
    assert worst.max_abs == pytest.approx(0.1)
    assert (agreement.differing, agreement.total) == (0, 4)
    _, swapped = compare_detections([(one, {**other, "category": np.array([[1, 1]], np.float32)})], manifest)
    assert swapped.differing == 2  # the first box of each


def test_the_cosine_is_that_of_the_worst_image() -> None:
    one = logits([1.0, 0.0], [1.0, 1.0], [0.0, 0.0])
    other = logits([2.0, 0.0], [1.0, 0.0], [0.0, 0.0])
    [output] = differences([(one, other)])
    assert output.cosine == pytest.approx(2**-0.5)


def test_labels_that_differ_within_the_tolerance_are_told_as_near_ties() -> None:
    expected = np.array([[1, 0.99], [0.5, 0.48], [0, 1]], np.float32)
    exported = np.array([[0.99, 1], [0.5, 0.48], [0, 1]], np.float32)
    manifest = Manifest("toy", ("a", "b"), InputContract())
    _, near = compare_labels([({"logits": expected}, {"logits": exported})], manifest, tolerance=0.05)
    assert near.passed
    assert near.told == "0 of 3 images, and 1 near tie"
    _, far = compare_labels([({"logits": expected}, {"logits": exported})], manifest, tolerance=0.001)
    assert far.told == "1 of 3 images"

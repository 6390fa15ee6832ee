from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenets.runtime.detect import nms as module
from mobilenets.runtime.detect.nms import ious, nms

Boxes = NDArray[np.float32]


def random_boxes(
    seed: int, n: int, *, classes: int, size: float = 320, side: float = 80
) -> tuple[Boxes, Boxes, NDArray[np.int64]]:
    """Boxes with scores that are all different."""
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, size, (n, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0, side, (n, 2))], axis=1).astype(np.float32)
    return boxes, (generator.permutation(n) / max(n, 1)).astype(np.float32), generator.integers(0, classes, n)


def expected(boxes: Boxes, scores: Boxes, classes: NDArray[np.int64], iou: float) -> list[int]:
    """torchvision's answer, class by class, so that no box is moved and rounded."""
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms as reference

    kept = []
    for k in np.unique(classes):
        own = np.flatnonzero(classes == k)
        kept.extend(own[reference(torch.tensor(boxes[own]), torch.tensor(scores[own]), iou).numpy()].tolist())
    return sorted(kept, key=lambda i: (-scores[i], i))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 300),
    classes=st.integers(1, 9),
    side=st.sampled_from([0.0, 5.0, 80.0, 400.0]),
    iou=st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.55, 0.7, 1.0]),
)
def test_it_is_torchvisions_on_random_boxes(seed: int, n: int, classes: int, side: float, iou: float) -> None:
    boxes, scores, kinds = random_boxes(seed, n, classes=classes, side=side)
    assert nms(boxes, scores, kinds, iou).tolist() == expected(boxes, scores, kinds, iou)


@settings(max_examples=100, deadline=None)
@given(
    corners=st.lists(st.tuples(*[st.integers(0, 6)] * 4), max_size=60),
    iou=st.sampled_from([0.2, 0.25, 1 / 3, 0.5, 0.6, 0.75]),
    seed=st.integers(0, 1000),
)
def test_it_is_torchvisions_where_overlaps_and_scores_are_equal(
    corners: list[tuple[int, int, int, int]], iou: float, seed: int
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(-1, 4)
    generator = np.random.default_rng(seed)
    scores, kinds = generator.integers(0, 4, len(boxes)).astype(np.float32), generator.integers(0, 2, len(boxes))
    assert nms(boxes, scores, kinds, iou).tolist() == expected(boxes, scores, kinds, iou)


def test_it_is_torchvisions_batched_nms() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms

    boxes, scores, kinds = random_boxes(7, 2000, classes=20)
    reference = batched_nms(torch.tensor(boxes), torch.tensor(scores), torch.tensor(kinds), 0.45)
    assert nms(boxes, scores, kinds, 0.45).tolist() == reference.tolist()


@pytest.mark.parametrize("most", [1, 10, 100, 3000])
def test_the_best_few_are_the_first_of_all(most: int) -> None:
    boxes, scores, kinds = random_boxes(1, 3000, classes=3)
    assert nms(boxes, scores, kinds, 0.45, most=most).tolist() == nms(boxes, scores, kinds, 0.45)[:most].tolist()


def test_boxes_in_several_blocks_and_portions_are_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, scores, kinds = random_boxes(2, 700, classes=2, side=150)
    monkeypatch.setattr(module, "BLOCK", 50)
    monkeypatch.setattr(module, "PAIRS", 70)
    assert nms(boxes, scores, kinds, 0.4).tolist() == expected(boxes, scores, kinds, 0.4)


def test_nothing_comes_of_nothing_and_one_stays() -> None:
    none = np.zeros((0, 4), np.float32)
    assert nms(none, np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5).tolist() == []
    assert nms(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), 0.5).tolist() == [0]


def test_of_equal_scores_the_earlier_box_stays_and_comes_first() -> None:
    boxes = np.array([[0, 0, 9, 9], [50, 50, 59, 59], [0, 0, 9, 9], [0, 0, 9, 9]], np.float32)
    kinds = np.array([0, 0, 0, 1])
    assert nms(boxes, np.full(4, 0.5, np.float32), kinds, 0.5).tolist() == [0, 1, 3]


def test_an_overlap_of_just_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 2, 1], [1, 0, 2, 1]], np.float32)  # 1 of 2 px
    assert nms(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64), 0.499).tolist() == [0]


@pytest.mark.parametrize("classes", [1, 90])
def test_20_000_boxes_are_torchvisions(classes: int) -> None:
    boxes, scores, kinds = random_boxes(3, 20_000, classes=classes, size=1000, side=60)
    assert nms(boxes, scores, kinds, 0.45).tolist() == expected(boxes, scores, kinds, 0.45)


def test_20_000_boxes_on_top_of_one_another_are_one() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (20_000, 1))
    start = time.perf_counter()
    assert nms(boxes, np.linspace(0, 1, 20_000, dtype=np.float32), np.zeros(20_000, np.int64), 0.5).tolist() == [19_999]
    assert time.perf_counter() - start < 10


def test_overlap_by_hand() -> None:
    first = np.array([[0, 0, 4, 4], [3, 3, 3, 3]], np.float32)
    second = np.array([[2, 0, 6, 4], [0, 0, 4, 4], [3, 3, 3, 3]], np.float32)
    assert ious(first, second).tolist() == [[pytest.approx(1 / 3), 1, 0], [0, 0, 0]]

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from mobilenets.evaluation.detect.coco import coco_metrics
from mobilenets.evaluation.detect.metrics import Judged, average_precision, ranked
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.runtime.detect.decode import Detections

CLASSES = 4
NAN = float("nan")


def random_images(seed: int, images: int, *, crowds: bool = False, difficult: bool = False) -> list[Judged]:
    """Objects of every size, and detections that lie near them, elsewhere, twice or in the wrong class; no scores are equal."""
    generator = np.random.default_rng(seed)
    every = generator.permutation(images * 60) / (images * 60)
    judged: list[Judged] = []
    for i in range(images):
        m = int(generator.integers(0, 12))
        corners, sides = generator.uniform(0, 400, (m, 2)), generator.uniform(5, 150, (m, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        kinds = generator.integers(0, CLASSES - 1, m)  # the last class does not occur
        near = np.repeat(np.arange(m), 3)
        moved = boxes[near] + generator.normal(0, 0.1, (len(near), 4)) * np.tile(sides[near], 2)
        moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1)
        stray = generator.uniform(0, 300, (8, 2))
        found = np.concatenate([moved, np.concatenate([stray, stray + 50], axis=1)]).astype(np.float32)
        guess = np.where(generator.random(len(near)) < 0.8, kinds[near], generator.integers(0, CLASSES, len(near)))
        guess = np.concatenate([guess, generator.integers(0, CLASSES, 8)])
        scores = every[i * 60 : i * 60 + len(found)].astype(np.float32)
        order = np.argsort(-scores)
        labels = tuple(f"kind {k}" for k in range(CLASSES))
        crowd = generator.random(m) < 0.2 if crowds else np.zeros(m, np.bool_)
        hard = generator.random(m) < 0.2 if difficult else np.zeros(m, np.bool_)
        judged.append((Detections(labels, found[order], scores[order], guess[order]), Truth(boxes, kinds, hard, crowd)))
    return judged


def truth_json(judged: list[Judged]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, (_, truth) in enumerate(judged, start=1):
        sides = truth.boxes[:, 2:].astype(np.float64) - truth.boxes[:, :2]
        for j in range(len(truth)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(truth.classes[j]) + 1,
                    "bbox": [*truth.boxes[j, :2].tolist(), *sides[j].tolist()],
                    # difficult objects are of a size that COCO does not count
                    "area": 1e11 if truth.difficult[j] and not truth.crowd[j] else float(sides[j, 0] * sides[j, 1]),
                    "iscrowd": int(truth.crowd[j]),
                }
            )
    categories = [{"id": k, "name": str(k)} for k in range(1, CLASSES + 1)]
    images = [{"id": i} for i in range(1, len(judged) + 1)]
    return {"info": {}, "images": images, "categories": categories, "annotations": annotations}


def found_json(judged: list[Judged]) -> list[dict[str, Any]]:
    return [
        {"image_id": image, "category_id": category + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for image, (detections, _) in enumerate(judged, start=1)
        for category, score, (x0, y0, x1, y1) in zip(
            detections.classes.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True
        )
    ]


def by_pycocotools(judged: list[Judged]) -> Any:
    """`COCOeval.stats` and precision of the same images."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = truth_json(judged)
        truth.createIndex()
        evaluator = evaluation.COCOeval(truth, truth.loadRes(found_json(judged)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("difficult", [False, True])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_every_figure_is_that_of_pycocotools(crowds: bool, difficult: bool, seed: int) -> None:
    judged = random_images(seed, 30, crowds=crowds, difficult=difficult)
    ours, reference = coco_metrics(judged, CLASSES), by_pycocotools(judged)
    found = [ours.map, ours.map50, ours.map75, *ours.map_of_size.values()]
    np.testing.assert_allclose(found, reference.stats[:6], atol=1e-9)
    np.testing.assert_allclose([ours.recall, *ours.recall_of_size.values()], reference.stats[8:], atol=1e-9)
    of_class = [
        precision[precision > -1].mean() for precision in np.moveaxis(reference.eval["precision"][..., 0, 2], 2, 0)[:-1]
    ]
    np.testing.assert_allclose(ours.map_of_class, [*of_class, NAN], atol=1e-9)


@pytest.mark.parametrize("crowds", [False, True])
def test_the_ranking_at_overlap_50_is_that_of_the_curves(crowds: bool) -> None:
    judged = random_images(5, 40, crowds=crowds)
    for one, expected in zip(ranked(judged, CLASSES), coco_metrics(judged, CLASSES).map50_of_class, strict=True):
        assert average_precision(one) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_difficult_objects_count_neither_way() -> None:
    labels, kinds = ("a",), np.zeros(2, np.int64)
    boxes = np.array([[0, 0, 50, 50], [100, 100, 150, 150]], np.float32)
    found = Detections(labels, boxes, np.array([0.9, 0.8], np.float32), kinds)
    hard = Truth(boxes, kinds, np.array([True, False]), np.zeros(2, np.bool_))
    assert coco_metrics([(found, hard)], 1).map == pytest.approx(1)
    missed = found.take(np.array([1]))
    assert coco_metrics([(missed, hard)], 1).recall == pytest.approx(1)


def test_nothing_found_is_0_of_what_is_there() -> None:
    nothing = Detections(("a", "b"), np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    box = np.array([[0, 0, 50, 50]], np.float32)
    there = Truth(box, np.zeros(1, np.int64), np.zeros(1, np.bool_), np.zeros(1, np.bool_))
    ours = coco_metrics([(nothing, there)], 2)
    assert (ours.map, ours.map50, ours.recall) == (0, 0, 0)
    assert ours.map_of_class == pytest.approx((0, NAN), nan_ok=True)
    assert ours.map_of_size == pytest.approx({"small": NAN, "medium": 0, "large": NAN}, nan_ok=True)


def test_nothing_there_is_not_a_number() -> None:
    found = Detections(("a",), np.array([[0, 0, 5, 5]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    empty = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.bool_))
    assert np.isnan(coco_metrics([(found, empty)], 1).map)

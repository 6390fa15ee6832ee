"""COCO's detection metrics in NumPy; a test compares every figure with pycocotools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenets.evaluation.detect.metrics import Judged, Ranked, average_precision, best_of_each, ranked_from
from mobilenets.evaluation.detect.truth import FALSE, IGNORED, match_at

OVERLAPS = tuple(np.linspace(0.5, 0.95, 10).tolist())

Range = tuple[float, float]

# fmt: off
SIZES: dict[str, tuple[Range, str]] = {  # area in px squared, both ends included, and its description; in COCO's order
    "all":    ((0,       1e10),    "any size"),
    "small":  ((0,       32 ** 2), "below 32 x 32 px"),
    "medium": ((32 ** 2, 96 ** 2), "32 x 32 to 96 x 96 px"),
    "large":  ((96 ** 2, 1e10),    "above 96 x 96 px"),
}
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class Coco:
    """COCO's metrics; NaN if there is nothing to measure.

    Args:
        map: mean average precision, over overlaps 0.50 to 0.95 and the classes that have objects.
        map50, map75: average precision at overlap 0.50 and 0.75.
        map_of_size: the same as `map` for "small", "medium" and "large" objects, by area.
        recall: share of the objects found by at most 100 detections per class and image, averaged over the same overlaps.
        recall_of_size: the same by area.
        map_of_class, map50_of_class: values of each class.
        ranked: the ranked detections of each class at each overlap, for objects of any size; T x classes.
    """

    map: float
    map50: float
    map75: float
    map_of_size: dict[str, float]
    recall: float
    recall_of_size: dict[str, float]
    map_of_class: tuple[float, ...]
    map50_of_class: tuple[float, ...]
    ranked: tuple[tuple[Ranked, ...], ...]


def coco_metrics(judged: Sequence[Judged], classes: int) -> Coco:
    """The metrics over all images.

    Args:
        judged: detections and ground truth of each image.
        classes: number of the model's classes.
    """
    ranked = {size: _ranked(images, classes) for size, images in _by_size(judged).items()}
    precision = {size: _table(of_size, average_precision) for size, of_size in ranked.items()}  # each T classes
    recall = {size: _table(of_size, _recall) for size, of_size in ranked.items()}
    of_all = precision["all"]
    return Coco(
        map=_mean(of_all),
        map50=_mean(of_all[0]),
        map75=_mean(of_all[5]),
        map_of_size={size: _mean(precision[size]) for size in SIZES if size != "all"},
        recall=_mean(recall["all"]),
        recall_of_size={size: _mean(recall[size]) for size in SIZES if size != "all"},
        map_of_class=tuple(_mean(of_all[:, k]) for k in range(classes)),
        map50_of_class=tuple(of_all[0].tolist()),
        ranked=ranked["all"],
    )


def _by_size(judged: Sequence[Judged]) -> dict[str, list[tuple[Judged, NDArray[np.int64], NDArray[np.bool_]]]]:
    """For each size, and for each image: its best detections and objects, the matches, T x K, and the ignored objects, M.

    Objects outside the range of sizes are ignored, and so are unmatched detections outside it.
    """
    by_size: dict[str, list[tuple[Judged, NDArray[np.int64], NDArray[np.bool_]]]] = {size: [] for size in SIZES}
    for detections, truth in judged:
        best = detections.take(best_of_each(detections.classes))
        object_areas, detected_areas = _areas(truth.boxes), _areas(best.boxes)
        ignored = np.stack([truth.ignored | ~_within(object_areas, limits) for limits, _ in SIZES.values()])  # A M
        matches = match_at(best, truth, OVERLAPS, ignored)  # A T K
        for size, (limits, _), own, out in zip(SIZES, SIZES.values(), matches, ignored, strict=True):
            own = np.where((own == FALSE) & ~_within(detected_areas, limits), IGNORED, own)
            by_size[size].append(((best, truth), own, out))
    return by_size


def _ranked(
    images: Sequence[tuple[Judged, NDArray[np.int64], NDArray[np.bool_]]], classes: int
) -> tuple[tuple[Ranked, ...], ...]:
    return tuple(
        ranked_from([(best, truth, own[t], ignored) for (best, truth), own, ignored in images], classes)
        for t in range(len(OVERLAPS))
    )


def _table(ranked: Sequence[Sequence[Ranked]], figure: Callable[[Ranked], float]) -> NDArray[np.float64]:
    return np.array([[figure(of_class) for of_class in of_overlap] for of_overlap in ranked], np.float64)


def _recall(ranked: Ranked) -> float:
    return int(ranked.hits.sum()) / ranked.support if ranked.support else float("nan")


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def _within(areas: NDArray[np.float64], limits: Range) -> NDArray[np.bool_]:
    return (areas >= limits[0]) & (areas <= limits[1])


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")

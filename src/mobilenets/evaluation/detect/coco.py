"""COCO's metrics of a detector, computed by faster-coco-eval, whose figures are those of pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MissingExtraError
from mobilenets.evaluation.detect.metrics import Judged

BEYOND = 1e11
"""Area, px squared, that is in none of COCO's ranges: an object of it is neither to be found nor false to find."""

# fmt: off
SIZES = {  # in COCO's order: what people call it
    "all":    "any size",
    "small":  "below 32 x 32 px",
    "medium": "up to 96 x 96 px",
    "large":  "above 96 x 96 px",
}
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class Coco:
    """COCO's metrics; NaN where there is nothing to measure.

    Args:
        map: mean average precision, over overlaps 0.50 to 0.95 and the classes that have objects.
        map50, map75: at overlap 0.50 and 0.75.
        map_of_size: "small", "medium", "large" objects, by area.
        recall: share of the objects that at most 100 detections an image find, over the same overlaps.
        recall_of_size: by area.
        map_of_class, map50_of_class: of each class.
    """

    map: float
    map50: float
    map75: float
    map_of_size: dict[str, float]
    recall: float
    recall_of_size: dict[str, float]
    map_of_class: tuple[float, ...]
    map50_of_class: tuple[float, ...]


def coco_metrics(judged: Sequence[Judged], classes: int) -> Coco:
    """The metrics over all images.

    Args:
        judged: what was found on each image, and what is there.
        classes: how many the model knows.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    coco = require()
    truth, found = coco.COCO(_truth(judged, classes)), _found(judged)
    if not truth.anns or not found:
        return _nothing(judged, classes)
    evaluator = coco.COCOeval_faster(truth, truth.loadRes(found), "bbox", print_function=_silent)
    evaluator.evaluate()
    evaluator.accumulate()
    shape = (10, 101, classes, len(SIZES), 3)  # overlaps, recalls, classes, sizes, most detections 1, 10, 100
    precision = np.asarray(evaluator.eval["precision"], np.float64).reshape(shape)[..., -1]
    recall = np.asarray(evaluator.eval["recall"], np.float64).reshape(shape[0], *shape[2:])[..., -1]
    sizes = list(SIZES)
    return Coco(
        map=_mean(precision[..., 0]),
        map50=_mean(precision[0, :, :, 0]),
        map75=_mean(precision[5, :, :, 0]),
        map_of_size={size: _mean(precision[..., i]) for i, size in enumerate(sizes) if i},
        recall=_mean(recall[..., 0]),
        recall_of_size={size: _mean(recall[..., i]) for i, size in enumerate(sizes) if i},
        map_of_class=tuple(_mean(precision[:, :, k, 0]) for k in range(classes)),
        map50_of_class=tuple(_mean(precision[0, :, k, 0]) for k in range(classes)),
    )


def require() -> Any:  # Any: a module without types
    """The package faster-coco-eval.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError as error:
        raise MissingExtraError("faster-coco-eval", "report") from error
    return faster_coco_eval


def _truth(judged: Sequence[Judged], classes: int) -> dict[str, Any]:  # Any: COCO's JSON
    annotations: list[dict[str, Any]] = []
    for image, (_, truth) in enumerate(judged, start=1):
        sides = truth.boxes[:, 2:].astype(np.float64) - truth.boxes[:, :2]
        sizes = np.where(truth.difficult & ~truth.crowd, BEYOND, sides[:, 0] * sides[:, 1])
        for j in range(len(truth)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(truth.classes[j]) + 1,
                    "bbox": [*truth.boxes[j, :2].tolist(), *sides[j].tolist()],
                    "area": float(sizes[j]),
                    "iscrowd": int(truth.crowd[j]),
                }
            )
    return {
        "info": {},
        "images": [{"id": i} for i in range(1, len(judged) + 1)],
        "categories": [{"id": k, "name": str(k)} for k in range(1, classes + 1)],
        "annotations": annotations,
    }


def _found(judged: Sequence[Judged]) -> list[dict[str, Any]]:  # Any: COCO's JSON
    return [
        {"image_id": image, "category_id": category + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for image, (detections, _) in enumerate(judged, start=1)
        for category, score, (x0, y0, x1, y1) in zip(
            detections.classes.tolist(), detections.scores.tolist(), detections.boxes.tolist(), strict=True
        )
    ]


def _nothing(judged: Sequence[Judged], classes: int) -> Coco:
    """The metrics where nothing was found, or nothing is there: 0 of what is there."""
    real = [(truth.boxes[~truth.ignored], truth.classes[~truth.ignored]) for _, truth in judged]
    there = np.bincount(np.concatenate([kinds for _, kinds in real]), minlength=classes)
    of_class = tuple(0.0 if count else float("nan") for count in there)
    all_sizes = np.concatenate([(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes, _ in real])
    ranges = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
    of_size = {
        name: 0.0 if ((all_sizes >= low) & (all_sizes <= high)).any() else float("nan") for name, (low, high) in ranges.items()
    }
    value = 0.0 if there.any() else float("nan")
    return Coco(value, value, value, of_size, value, dict(of_size), of_class, of_class)


def _mean(values: NDArray[np.float64]) -> float:
    """The mean of what could be measured: COCO writes -1 for the rest."""
    real = values[values > -1]
    return float(real.mean()) if real.size else float("nan")


def _silent(*_: object) -> None:
    """The evaluator tells of its steps."""

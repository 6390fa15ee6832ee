"""`compare`: several models on the same images, with a confidence interval for each figure and each paired difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import DataError
from mobilenets.evaluation.classify import metrics as classify_metrics
from mobilenets.evaluation.detect.evaluate import mean_ap_draws
from mobilenets.evaluation.detect.metrics import Ranked, mean_average_precision
from mobilenets.evaluation.intervals import CONFIDENCE, Interval, Statistic, draws, paired, percentiles, wilson
from mobilenets.evaluation.segment.evaluate import mean_iou_of
from mobilenets.specs.model import TASK_NOUNS, Task
from mobilenets.table import unknown_name

Arrays = Mapping[str, NDArray[Any]]  # Any: arrays of several types


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One model's results for each image.

    Args:
        name: the model's name, for people.
        task: the network's task.
        labels: the model's class names.
        names: names of the images, N.
        arrays: the results, by name; which ones depends on the task, see `reports/<task>/report.py`.
        trained_on: names of images that this model was trained on, as far as known.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    names: tuple[str, ...]
    arrays: Arrays
    trained_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Compared:
    """One model compared with the first.

    Args:
        name: the model's name.
        value: its figure on the images that all models were measured on.
        interval: 95% confidence interval of the figure; None if it could not be computed.
        difference: its figure minus that of the first model; 0 for the first.
        paired: confidence interval of the difference, from the same draws of images; None for the first.
        p: p-value for the hypothesis that the two do not differ: McNemar's exact test for accuracy, otherwise from the paired
            bootstrap; NaN for the first.
        verdict: "better", "worse", "no clear difference", or "" for the first.
    """

    name: str
    value: float
    interval: Interval | None
    difference: float = 0.0
    paired: Interval | None = None
    p: float = math.nan
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several models on the same images.

    Args:
        metric: name of the figure.
        title: the figure's title, for people.
        percent: whether it is a share.
        rising: whether higher is better.
        images: number of images that all models were measured on.
        left_out: number of images that only some of the models were measured on.
        rows: the models, in the given order.
        trained_on: names of the models that were trained on some of these images, as far as known.
    """

    metric: str
    title: str
    percent: bool
    rising: bool
    images: int
    left_out: int
    rows: tuple[Compared, ...]
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure is computed from the results for each image.

    Args:
        title: the figure's title, for people.
        draws: computes the figure, and its value for each bootstrap draw of images.
        percent: whether it is a share.
        rising: whether higher is better.
    """

    title: str
    draws: Callable[[Measured], tuple[float, NDArray[np.float64]]]
    percent: bool = True
    rising: bool = True


def compare(measured: Sequence[Measured], metric: str = "") -> Comparison:
    """Compare models on the images that all of them were measured on; differences are relative to the first model.

    Args:
        measured: at least two models.
        metric: "top1", "balanced_accuracy", "macro_f1" or "nll" for classifiers; "map", "map50" or "map75" for detectors;
            "miou" or "pixel_accuracy" for segmenters. By default, the first of these.

    Raises:
        DataError: the models have different tasks or no image in common, or their ground truth differs.
        UnknownNameError: there is no such metric.
    """
    task = measured[0].task
    for model in measured:
        if model.task != task:
            raise DataError(
                f"'{measured[0].name}' is a {TASK_NOUNS[task]} model, but '{model.name}' is a {TASK_NOUNS[model.task]} model"
            )
    figures = FIGURES[task]
    metric = metric or next(iter(figures))
    if metric not in figures:
        raise unknown_name("metric", metric, figures)
    common = _common(measured)
    alike = [_of_images(model, common) for model in measured]
    _check_truth(alike)
    figure = figures[metric]
    first, *others = [(model, *figure.draws(model)) for model in alike]
    rows = [Compared(first[0].name, first[1], _interval(first, metric))]
    for other in others:
        gap = min(len(first[2]), len(other[2]))
        differences = other[2][:gap] - first[2][:gap]
        if metric == "top1":
            gained, lost = _only(other[0], first[0]), _only(first[0], other[0])
            interval: Interval | None = paired(gained, lost, differences, len(common))
            p = _mcnemar(gained, lost)
        else:
            interval, p = percentiles(differences) if gap else None, _p_of(differences)
        row = Compared(other[0].name, other[1], _interval(other, metric), other[1] - first[1], interval, p)
        rows.append(_with_verdict(row, rising=figure.rising))
    every = {name for model in measured for name in model.names}
    trained_on = tuple(model.name for model in measured if not model.trained_on.isdisjoint(common))
    left_out = len(every) - len(common)
    return Comparison(
        metric, figure.title, figure.percent, figure.rising, len(common), left_out, tuple(rows), trained_on=trained_on
    )


def _with_verdict(row: Compared, *, rising: bool) -> Compared:
    """The row with its verdict. A clear difference needs an interval without 0 and a small `p`, exact even for few images."""
    verdict = "no clear difference"
    if row.paired is not None and (row.paired.low > 0 or row.paired.high < 0) and not row.p >= 1 - CONFIDENCE:
        verdict = "better" if (row.difference > 0) == rising else "worse"
    return Compared(row.name, row.value, row.interval, row.difference, row.paired, row.p, verdict)


def _common(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Names of the images that all models were measured on, in the order of the first model."""
    names = set.intersection(*(set(model.names) for model in measured))
    common = tuple(dict.fromkeys(name for name in measured[0].names if name in names))
    if len(common) == 1:
        raise DataError(
            f"{_quoted([model.name for model in measured])} have only 1 image in common, '{common[0]}', and at least 2 are "
            "needed to compare models",
            hint="--data DATA with more images",
        )
    if not common:
        raise DataError(
            f"{_quoted([model.name for model in measured])} were not measured on the same images",
            hint="mobilenets compare RUN RUN --data DATA measures them all on one dataset",
        )
    return common


def _of_images(measured: Measured, names: Sequence[str]) -> Measured:
    """The results for these images, in this order."""
    place = {name: i for i, name in enumerate(measured.names)}
    chosen = np.array([place[name] for name in names], np.int64)
    return Measured(measured.name, measured.task, measured.labels, tuple(names), _CHOOSE[measured.task](measured, chosen))


def _rows(measured: Measured, chosen: NDArray[np.int64]) -> Arrays:
    """Results with one row per image."""
    return {name: array[chosen] for name, array in measured.arrays.items()}


def _detections(measured: Measured, chosen: NDArray[np.int64]) -> Arrays:
    """Detections of the chosen images, with image indices renumbered."""
    arrays = measured.arrays
    numbers = np.full(len(measured.names), -1)
    numbers[chosen] = np.arange(len(chosen))
    images = numbers[arrays["image"]]
    kept = images >= 0
    rows = {name: arrays[name][kept] for name in ("overlap", "class", "score", "hit")}
    return {**rows, "image": images[kept], "objects": arrays["objects"][:, chosen]}


def _check_truth(measured: Sequence[Measured]) -> None:
    """Raise if images of the same name have different ground truth."""
    first = measured[0]
    truth = _truth(first)
    for other in measured[1:]:
        differs = [name for name, own, its in zip(first.names, truth, _truth(other), strict=True) if own != its]
        if differs:
            raise DataError(
                f"'{first.name}' and '{other.name}' were measured on other answers for {len(differs)} of {len(first.names)} "
                f"images, such as '{differs[0]}'",
                hint="mobilenets compare RUN RUN --data DATA measures them all on one dataset",
            )


def _truth(measured: Measured) -> list[object]:
    """The comparable part of each image's ground truth: the label, the number of objects, or the number of pixels."""
    if measured.task == "classify":
        return [measured.labels[i] for i in measured.arrays["truth"]]
    totals = measured.arrays["objects"].sum(axis=0) if measured.task == "detect" else measured.arrays["support"].sum(axis=1)
    return list(totals.tolist())


def _of_counts(of: Callable[[Measured], Statistic]) -> Callable[[Measured], tuple[float, NDArray[np.float64]]]:
    """Value and draws of a figure that depends only on how often each image counts."""

    def both(measured: Measured) -> tuple[float, NDArray[np.float64]]:
        statistic, images = of(measured), len(measured.names)
        return statistic(np.ones(images, np.int64)), draws(statistic, images)

    return both


def _accuracy(measured: Measured) -> Statistic:
    right = measured.arrays["truth"] == measured.arrays["predicted"]
    return lambda counts: float(counts @ right) / int(counts.sum())


def _balanced_accuracy(measured: Measured) -> Statistic:
    truth, predicted, classes = measured.arrays["truth"], measured.arrays["predicted"], len(measured.labels)
    return lambda counts: classify_metrics.balanced_accuracy(truth, predicted, classes, counts)


def _macro_f1(measured: Measured) -> Statistic:
    truth, predicted, classes = measured.arrays["truth"], measured.arrays["predicted"], len(measured.labels)
    return lambda counts: classify_metrics.macro_f1(truth, predicted, classes, counts)


def _nll(measured: Measured) -> Statistic:
    loss = measured.arrays["loss"]
    return lambda counts: float(counts @ loss) / int(counts.sum())


def _miou(measured: Measured) -> Statistic:
    return mean_iou_of(measured.arrays["hits"], measured.arrays["support"], measured.arrays["predicted"])


def _pixel_accuracy(measured: Measured) -> Statistic:
    hits, support = measured.arrays["hits"].sum(axis=1), measured.arrays["support"].sum(axis=1)
    return lambda counts: float(counts @ hits) / max(int(counts @ support), 1)


def _map_at(overlaps: slice) -> Callable[[Measured], tuple[float, NDArray[np.float64]]]:
    """Value and draws of mAP over some of the overlaps 0.50, 0.55, ... 0.95."""

    def both(measured: Measured) -> tuple[float, NDArray[np.float64]]:
        ranked = _ranked(measured.arrays)[overlaps]
        value = float(np.mean([mean_average_precision(of_overlap) for of_overlap in ranked]))
        return value, mean_ap_draws(ranked, len(measured.names))

    return both


def _ranked(arrays: Arrays) -> list[list[Ranked]]:
    """The ranked detections for each overlap and class."""
    levels = []
    for overlap in range(10):
        at = arrays["overlap"] == overlap
        rows = [(at & (arrays["class"] == k), objects) for k, objects in enumerate(arrays["objects"])]
        levels.append(
            [Ranked(arrays["score"][own], arrays["hit"][own], arrays["image"][own], objects) for own, objects in rows]
        )
    return levels


def _interval(model: tuple[Measured, float, NDArray[np.float64]], metric: str) -> Interval | None:
    measured, value, drawn = model
    if metric == "top1":
        return wilson(round(value * len(measured.names)), len(measured.names))
    return percentiles(drawn) if len(drawn) else None


def _only(first: Measured, other: Measured) -> int:
    """Number of images that the first gets right and the other does not."""
    right_first, right_other = (model.arrays["truth"] == model.arrays["predicted"] for model in (first, other))
    return int((right_first & ~right_other).sum())


def _mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test (binomial, two-sided) on the images that only one of two classifiers gets right.

    It is the probability of a split at least this uneven if either classifier were equally likely to get each image right.
    """
    total, fewer = gained + lost, min(gained, lost)
    if not total:
        return 1.0
    ways = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * sum(math.exp(way - total * math.log(2)) for way in ways))


def _p_of(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value: from the share of bootstrap draws in which the difference has the other sign."""
    known = differences[~np.isnan(differences)]
    if not len(known):
        return math.nan
    return min(1.0, 2 * (1 + min(int((known <= 0).sum()), int((known >= 0).sum()))) / (1 + len(known)))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:-1]) + f" and '{names[-1]}'"


_CHOOSE: dict[Task, Callable[[Measured, NDArray[np.int64]], Arrays]] = {
    "classify": _rows,
    "detect": _detections,
    "segment": _rows,
}

FIGURES: dict[Task, dict[str, Figure]] = {
    "classify": {
        "top1": Figure("accuracy", _of_counts(_accuracy)),
        "balanced_accuracy": Figure("balanced accuracy", _of_counts(_balanced_accuracy)),
        "macro_f1": Figure("macro F1", _of_counts(_macro_f1)),
        "nll": Figure("negative log likelihood", _of_counts(_nll), percent=False, rising=False),
    },
    "detect": {
        "map": Figure("mAP", _map_at(slice(0, 10))),
        "map50": Figure("mAP50", _map_at(slice(0, 1))),
        "map75": Figure("mAP75", _map_at(slice(5, 6))),
    },
    "segment": {
        "miou": Figure("mean IoU", _of_counts(_miou)),
        "pixel_accuracy": Figure("pixel accuracy", _of_counts(_pixel_accuracy)),
    },
}

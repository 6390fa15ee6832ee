"""`evaluate_detection`: run the shipped predictor on images with bounding boxes and measure its detections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.data.samples import Sample
from mobilenets.errors import CheckpointError
from mobilenets.evaluation.detect import coco as detect_coco
from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.coco import Coco
from mobilenets.evaluation.detect.metrics import Judged, Ranked
from mobilenets.evaluation.detect.thresholds import best_threshold
from mobilenets.evaluation.detect.truth import FALSE, Truth, judge, match_voc, truth_of
from mobilenets.evaluation.intervals import ROUNDS, Interval, drawn_counts, percentiles
from mobilenets.evaluation.metric import Metric, label_columns, metric_named, nothing_read
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.ssd import SsdHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTED = 200_000_000
"""Limit of detections counted for a confidence interval: with many detections, fewer bootstrap rounds are drawn."""

FEWEST = 200
"""With fewer rounds than this there is no interval."""

_AT_ONCE = 4_000_000  # detections times images that are counted in one array


@dataclass(frozen=True, slots=True)
class DetectionClass:
    """The metrics of one class; NaN if there is nothing to measure.

    Args:
        label: the class's name.
        ap: COCO's average precision, over overlaps 0.50 to 0.95.
        ap50: average precision at overlap 0.50.
        threshold: the score threshold that the following metrics use.
        precision: share of the detections that are right.
        recall: share of the objects that were found.
        f1: harmonic mean of precision and recall.
        support: number of objects to find.
    """

    label: str
    ap: float
    ap50: float
    threshold: float
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One image: its detections above the thresholds, and its ground truth.

    Args:
        name: the image's name.
        shown: the detections above the thresholds, K.
        truth: the true objects, M.
        found: for each detection, the index of the object that it found or confused with another class, or `FALSE` or
            `IGNORED`, K.
        by: for each object, the index of the detection that found or confused it, or `FALSE` or `IGNORED`, M.
    """

    name: str
    shown: Detections
    truth: Truth
    found: NDArray[np.int64]
    by: NDArray[np.int64]

    @property
    def false(self) -> NDArray[np.int64]:
        """Detections that match no object."""
        return np.flatnonzero(self.found == FALSE)

    @property
    def confused(self) -> NDArray[np.int64]:
        """Detections that match an object of another class."""
        paired = np.flatnonzero(self.found >= 0)
        chosen: NDArray[np.int64] = paired[self.truth.classes[self.found[paired]] != self.shown.classes[paired]]
        return chosen

    @property
    def hits(self) -> NDArray[np.int64]:
        """Detections that are right."""
        paired = np.flatnonzero(self.found >= 0)
        chosen: NDArray[np.int64] = paired[self.truth.classes[self.found[paired]] == self.shown.classes[paired]]
        return chosen

    @property
    def missed(self) -> NDArray[np.int64]:
        """Objects that were not found."""
        return np.flatnonzero(self.by == FALSE)

    @property
    def severity(self) -> float:
        """The scores of the wrong detections, plus 1 for each miss."""
        wrong = np.concatenate([self.false, self.confused])
        return float(self.shown.scores[wrong].sum()) + len(self.missed)


@dataclass(frozen=True, slots=True, eq=False)
class DetectionReport:
    """The result of evaluating a detector.

    Args:
        model: the network's name.
        labels: the model's class names.
        names: names of the images that were read, N.
        judged: detections and ground truth of each image, N.
        model_thresholds: the model's own score thresholds; empty if it has none.
        inside: whether the network itself drops detections below its thresholds, so that lower scores cannot be measured.
        unreadable: name and reason of each image that could not be read.
        seconds: duration of the evaluation, decoding included.
        coco: COCO's metrics.
        ranked: the detections of each class, by descending score.
        thresholds: the threshold of each class: the model's, or the one with the best F1 on these images.
        metrics: the table of metrics.
        classes: the metrics of each class.
    """

    model: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    judged: tuple[Judged, ...]
    model_thresholds: tuple[float, ...] = ()
    inside: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    coco: Coco = field(init=False)
    ranked: tuple[Ranked, ...] = field(init=False)
    thresholds: tuple[float, ...] = field(init=False)
    metrics: tuple[Metric, ...] = field(init=False)
    classes: tuple[DetectionClass, ...] = field(init=False)

    def __post_init__(self) -> None:
        coco = detect_coco.coco_metrics(self.judged, len(self.labels))
        object.__setattr__(self, "coco", coco)
        object.__setattr__(self, "ranked", coco.ranked[0])
        own = tuple(best_threshold(of_class) for of_class in self.ranked)
        object.__setattr__(self, "thresholds", self.model_thresholds or own)
        object.__setattr__(self, "metrics", tuple(_metrics(self)))
        object.__setattr__(self, "classes", tuple(_classes(self)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts per `[true class, predicted class]`; last row: false detections of background; last column: misses."""
        return detect_metrics.confusion(self.judged, len(self.labels), self.thresholds)

    def metric(self, name: str) -> Metric:
        """The metric with this name.

        Raises:
            UnknownNameError: there is no such metric.
        """
        return metric_named(self.metrics, name)

    def verdicts(self) -> Iterator[Verdict]:
        """One verdict per image that was read, in order."""
        for name, (detections, truth) in zip(self.names, self.judged, strict=True):
            shown = detections.above(self.thresholds)
            yield Verdict(name, shown, truth, *judge(shown, truth))

    def worst(self, k: int = 3) -> tuple[Verdict, ...]:
        """The images with the most and most confident mistakes, worst first."""
        flawed = [verdict for verdict in self.verdicts() if verdict.severity > 0]
        return tuple(sorted(flawed, key=lambda verdict: -verdict.severity)[:k])

    def best(self, k: int = 3) -> tuple[Verdict, ...]:
        """The images without mistakes, those with the most objects first."""
        flawless = [verdict for verdict in self.verdicts() if verdict.severity == 0 and len(verdict.hits)]
        return tuple(sorted(flawless, key=lambda verdict: -len(verdict.hits))[:k])


def evaluate_detection(
    predictor: Predictor,
    samples: Iterable[Sample],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> DetectionReport:
    """A detector's performance on images with bounding boxes. Unreadable images are listed in the report and not counted.

    Average precision needs all scores, so detection ignores the model's score thresholds. The thresholds apply to precision,
    recall and the confusion matrix.

    Args:
        predictor: a predictor with any engine; images are preprocessed exactly as in production.
        samples: images with boxes, whose labels are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model, in any order. The model may know more.
        progress: called with the number of images processed since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        CheckpointError: the network is not a detector.
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    head = predictor.manifest.head
    if not isinstance(head, SsdHead):
        raise CheckpointError(f"'{predictor.manifest.model}' is not a detector; its task is {predictor.manifest.task}")
    measured = predictor.with_head(replace(head, class_thresholds=()))
    columns = label_columns(labels, predictor.manifest.labels)
    truths: list[Truth] = []

    def remembered() -> Iterator[Sample]:
        for sample in samples:
            truths.append(truth_of(sample.boxes, columns))
            yield sample

    start = time.perf_counter()
    names: list[str] = []
    judged: list[Judged] = []
    unreadable: list[tuple[str, str]] = []
    for i, result in enumerate(measured.stream(remembered(), batch=batch)):
        if isinstance(result.prediction, Detections):
            names.append(result.name)
            judged.append((result.prediction, truths[i]))
        else:
            unreadable.append((result.name, result.error))
        if progress is not None:
            progress(1)
    if not names:
        raise nothing_read(unreadable)
    return DetectionReport(
        model=predictor.manifest.model,
        labels=predictor.manifest.labels,
        names=tuple(names),
        judged=tuple(judged),
        model_thresholds=tuple(head.class_thresholds),
        inside="boxes" in predictor.engine.outputs,
        unreadable=tuple(unreadable),
        seconds=time.perf_counter() - start,
    )


def mean_ap_draws(ranked: Sequence[Sequence[Ranked]], images: int, *, seed: int = 0) -> NDArray[np.float64]:
    """The mAP of each bootstrap round, with images drawn with replacement; empty if that would take too long.

    Args:
        ranked: detections for each overlap and class, T x classes; the mean is over both.
        images: number of images.
    """
    rounds = min(ROUNDS, COUNTED // max(1, sum(len(of_class.scores) for of_overlap in ranked for of_class in of_overlap)))
    if rounds < FEWEST or images < 2:
        return np.zeros(0)
    longest = max(images, max(len(of_class.scores) for of_overlap in ranked for of_class in of_overlap))
    counts = drawn_counts(images, rounds=rounds, seed=seed)
    blocks = iter(lambda: list(islice(counts, max(1, _AT_ONCE // longest))), [])
    return np.concatenate([_mean_aps(ranked, np.stack(block)) for block in blocks])


def _mean_aps(ranked: Sequence[Sequence[Ranked]], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """mAP for each draw, R."""
    values = np.stack([detect_metrics.average_precisions(of_class, counts) for of_overlap in ranked for of_class in of_overlap])
    known = (~np.isnan(values)).sum(axis=0)
    means: NDArray[np.float64] = np.where(known > 0, np.nansum(values, axis=0) / np.maximum(known, 1), np.nan)
    return means


def _metrics(report: DetectionReport) -> Iterator[Metric]:
    coco, ranked = report.coco, report.ranked
    objects, dropped = sum(of_class.support for of_class in ranked), sum(truth.dropped for _, truth in report.judged)
    note = f"{objects:,} objects; overlap 0.50" + (f"; {dropped:,} without area left out" if dropped else "")
    if report.inside and report.model_thresholds:
        note += "; only scores above the thresholds inside the file: evaluate model.onnx to count all"
    overlaps = "COCO: mean over overlaps 0.50 to 0.95"
    yield Metric("map", "mAP", coco.map, _interval(coco.ranked, len(report)), overlaps)
    yield Metric("map50", "mAP50", coco.map50, _interval(coco.ranked[:1], len(report)), note)
    yield Metric("map75", "mAP75", coco.map75, _interval(coco.ranked[5:6], len(report)), "overlap 0.75")
    yield Metric(
        "recall", "recall", coco.recall, note="COCO: at most 100 detections per class and image, overlaps 0.50 to 0.95"
    )
    occurring = [size for size, value in coco.map_of_size.items() if value == value]
    for size in occurring:
        note = f"{detect_coco.SIZES[size][1]}; recall {coco.recall_of_size[size]:.1%}"
        alone = len(occurring) == 1  # then it equals the mAP above
        yield Metric(f"map_{size}", f"mAP, {size} objects", coco.map_of_size[size], note=note, minor=alone)
    voc = detect_metrics.ranked(report.judged, len(report.labels), pairing=match_voc)
    areas = [detect_metrics.voc_average_precision(of_class) for of_class in voc if of_class.support]
    points = [detect_metrics.voc_11_points(of_class) for of_class in voc if of_class.support]
    yield Metric("voc", "VOC mAP", _mean(areas), note="Pascal VOC since 2010: area under the curve", minor=True)
    yield Metric("voc_2007", "VOC 2007 mAP", _mean(points), note="Pascal VOC until 2009: 11 points", minor=True)


def _interval(ranked: Sequence[Sequence[Ranked]], images: int) -> Interval | None:
    """Confidence interval of the mean average precision, by bootstrap over images; None if that would take too long."""
    values = mean_ap_draws(ranked, images)
    return percentiles(values) if len(values) else None


def _classes(report: DetectionReport) -> Iterator[DetectionClass]:
    for k, (label, ranked) in enumerate(zip(report.labels, report.ranked, strict=True)):
        above = ranked.scores > np.float32(report.thresholds[k])
        hits, detections, support = int(ranked.hits[above].sum()), int(above.sum()), ranked.support
        yield DetectionClass(
            label=label,
            ap=report.coco.map_of_class[k],
            ap50=report.coco.map50_of_class[k],
            threshold=report.thresholds[k],
            precision=hits / detections if detections else 0.0,
            recall=hits / support if support else 0.0,
            f1=2 * hits / (detections + support) if detections + support else 0.0,
            support=support,
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")

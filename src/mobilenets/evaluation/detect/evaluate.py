"""`evaluate_detection`: the shipped predictor over images with boxes, and everything that follows from its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import CheckpointError
from mobilenets.evaluation import metrics
from mobilenets.evaluation.classify import Metric, label_columns, metric_named, nothing_read
from mobilenets.evaluation.detect import coco as detect_coco
from mobilenets.evaluation.detect import metrics as detect_metrics
from mobilenets.evaluation.detect.coco import Coco
from mobilenets.evaluation.detect.metrics import Judged, Ranked
from mobilenets.evaluation.detect.truth import FALSE, TrueBox, Truth, judge, match_voc, truth_of
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.engines.base import OnnxEngine
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.ssd import SsdHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 1000
WORK, FEWEST = 100_000_000, 200  # detections that may be counted for an interval, and rounds below which there is none


class BoxedImage(Protocol):
    """An image with its objects; `mobilenets.data.samples.Sample` is one."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def boxes(self) -> Sequence[TrueBox]:
        """Its objects."""
        ...

    def read(self) -> bytes:
        """The encoded image."""
        ...


@dataclass(frozen=True, slots=True)
class DetectionClass:
    """How one class fares; NaN where there is nothing to measure.

    Args:
        label: its name.
        ap: COCO's average precision, over overlaps 0.50 to 0.95.
        ap50: at overlap 0.50.
        threshold: the score above which detections count for the following.
        precision: share of the detections that are right.
        recall: share of the objects that were found.
        f1: harmonic mean of the two.
        support: objects there are to find.
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
    """One image: what was found above the thresholds, and what is there.

    Args:
        name: of the image.
        shown: the detections above the thresholds, K.
        truth: the objects, M.
        found: of each detection, the object it found or took for something else, `FALSE` or `IGNORED`, K.
        by: of each object, the detection that did so, `FALSE` or `IGNORED`, M.
    """

    name: str
    shown: Detections
    truth: Truth
    found: NDArray[np.int64]
    by: NDArray[np.int64]

    @property
    def false(self) -> NDArray[np.int64]:
        """Detections of what is not there."""
        return np.flatnonzero(self.found == FALSE)

    @property
    def confused(self) -> NDArray[np.int64]:
        """Detections of an object that is of another class."""
        places = np.flatnonzero(self.found >= 0)
        chosen: NDArray[np.int64] = places[self.truth.classes[self.found[places]] != self.shown.classes[places]]
        return chosen

    @property
    def hits(self) -> NDArray[np.int64]:
        """Detections that are right."""
        places = np.flatnonzero(self.found >= 0)
        chosen: NDArray[np.int64] = places[self.truth.classes[self.found[places]] == self.shown.classes[places]]
        return chosen

    @property
    def missed(self) -> NDArray[np.int64]:
        """Objects that nothing found."""
        return np.flatnonzero(self.by == FALSE)

    @property
    def severity(self) -> float:
        """Scores of the wrong detections and a point for each miss, together."""
        wrong = np.concatenate([self.false, self.confused])
        return float(self.shown.scores[wrong].sum()) + len(self.missed)


@dataclass(frozen=True, slots=True, eq=False)
class DetectionReport:
    """What an evaluation found.

    Args:
        model: the network's name.
        labels: of the model.
        names: of the images that were read, N.
        judged: what was found on each, and what is there, N.
        model_thresholds: the score thresholds that come with the model; empty where it has none.
        inside: whether the network itself leaves out what is not above them, so that lower scores are not measured.
        unreadable: name and reason of each image that could not be read.
        seconds: the evaluation took, decoding included.
        coco: COCO's metrics.
        ranked: the detections of each class by falling score.
        thresholds: of each class: the model's, or those with the best F1 on these images.
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
        classes = len(self.labels)
        object.__setattr__(self, "coco", detect_coco.coco_metrics(self.judged, classes))
        object.__setattr__(self, "ranked", detect_metrics.ranked(self.judged, classes))
        own = tuple(detect_metrics.best_threshold(one) for one in self.ranked)
        object.__setattr__(self, "thresholds", self.model_thresholds or own)
        object.__setattr__(self, "metrics", tuple(_metrics(self)))
        object.__setattr__(self, "classes", tuple(_classes(self)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts `[true class, found as]`; last row: background taken for an object; last column: misses."""
        return detect_metrics.confusion(self.judged, len(self.labels), self.thresholds)

    def metric(self, name: str) -> Metric:
        """The metric of that name.

        Raises:
            UnknownNameError: the evaluation has none of that name.
        """
        return metric_named(self.metrics, name)

    def verdicts(self) -> Iterator[Verdict]:
        """One per image that was read, in order."""
        for name, (detections, truth) in zip(self.names, self.judged, strict=True):
            shown = detections.above(self.thresholds)
            yield Verdict(name, shown, truth, *judge(shown, truth))

    def worst(self, k: int = 3) -> tuple[Verdict, ...]:
        """The images with the most and surest mistakes, the worst first."""
        flawed = [verdict for verdict in self.verdicts() if verdict.severity > 0]
        return tuple(sorted(flawed, key=lambda verdict: -verdict.severity)[:k])


def evaluate_detection(
    predictor: Predictor,
    samples: Iterable[BoxedImage],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> DetectionReport:
    """How well a detector does on images with boxes. What cannot be read is named in the report and counts nowhere.

    Average precision looks at every score: the thresholds of the model's classes are left out while detecting, and come
    back for precision, recall and the confusion matrix.

    Args:
        predictor: with any engine; the images take the way they take in production.
        samples: images whose boxes have labels that are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model, in any order. The model may know more.
        progress: called with the number of images done since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        CheckpointError: the network is no detector.
        DataError: a class of the data is unknown to the model, or no image could be read.
        MissingExtraError: faster-coco-eval is not installed.
    """
    detect_coco.require()  # before the work
    head = predictor.manifest.head
    if not isinstance(head, SsdHead):
        raise CheckpointError(f"'{predictor.manifest.model}' is no detector: it is to {predictor.manifest.task}")
    measured = predictor.with_head(replace(head, class_thresholds=()))
    columns = label_columns(labels, predictor.manifest.labels)
    truths: list[Truth] = []

    def remembered() -> Iterator[BoxedImage]:
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
        inside=isinstance(predictor.engine, OnnxEngine) and "boxes" in predictor.engine.outputs,
        unreadable=tuple(unreadable),
        seconds=time.perf_counter() - start,
    )


def _metrics(report: DetectionReport) -> Iterator[Metric]:
    coco, ranked = report.coco, report.ranked
    objects, dropped = sum(one.support for one in ranked), sum(truth.dropped for _, truth in report.judged)
    note = f"{objects:,} objects; overlap 0.50" + (f"; {dropped:,} without area left out" if dropped else "")
    if report.inside and report.model_thresholds:
        note += "; scores above the thresholds inside the file alone: model.onnx shows all"
    yield Metric("map50", "mAP50", coco.map50, _interval(report), note)
    yield Metric("map", "mAP", coco.map, note="COCO: mean over overlaps 0.50 to 0.95")
    yield Metric("map75", "mAP75", coco.map75, note="overlap 0.75")
    yield Metric("recall", "recall", coco.recall, note="COCO: at most 100 detections an image, overlaps 0.50 to 0.95")
    for size, words in detect_coco.SIZES.items():
        value = coco.map_of_size.get(size, float("nan"))
        if value == value:
            note = f"{words}; recall {coco.recall_of_size[size]:.1%}"
            yield Metric(f"map_{size}", f"mAP, {size} objects", value, note=note)
    voc = detect_metrics.ranked(report.judged, len(report.labels), pairing=match_voc)
    areas = [detect_metrics.voc_average_precision(one) for one in voc if one.support]
    points = [detect_metrics.voc_11_points(one) for one in voc if one.support]
    yield Metric("voc", "VOC mAP", _mean(areas), note="Pascal VOC since 2010: area under the curve")
    yield Metric("voc_2007", "VOC 2007 mAP", _mean(points), note="Pascal VOC: 11 points")


def _interval(report: DetectionReport) -> metrics.Interval | None:
    """Of the mean average precision at overlap 0.50, over images drawn with replacement; None where that takes long."""
    rounds = min(ROUNDS, WORK // max(1, sum(len(one.scores) for one in report.ranked)))
    if rounds < FEWEST:
        return None
    return metrics.bootstrap(
        lambda counts: detect_metrics.mean_average_precision(report.ranked, counts), len(report), rounds=rounds
    )


def _classes(report: DetectionReport) -> Iterator[DetectionClass]:
    for k, (label, one) in enumerate(zip(report.labels, report.ranked, strict=True)):
        above = one.scores > np.float32(report.thresholds[k])
        hits, called, support = int(one.hits[above].sum()), int(above.sum()), one.support
        yield DetectionClass(
            label=label,
            ap=report.coco.map_of_class[k],
            ap50=report.coco.map50_of_class[k],
            threshold=report.thresholds[k],
            precision=hits / called if called else 0.0,
            recall=hits / support if support else 0.0,
            f1=2 * hits / (called + support) if called + support else 0.0,
            support=support,
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")

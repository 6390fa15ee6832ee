"""`evaluate_segmentation`: run the shipped predictor on images with masks and compare them pixel by pixel, at full size."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.data.masks import IGNORE
from mobilenets.data.samples import Sample
from mobilenets.errors import ImageError, UsageError
from mobilenets.evaluation.intervals import Statistic, bootstrap
from mobilenets.evaluation.metric import Metric, label_columns, metric_named, nothing_read
from mobilenets.evaluation.segment import metrics as segment_metrics
from mobilenets.evaluation.segment.metrics import Boundaries
from mobilenets.evaluation.segment.tiles import MOST_CLASSES, Tiles, merged, tiles_of
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.result import Result
from mobilenets.runtime.segment.decode import Segmentation, colors
from mobilenets.runtime.segment.palette import Color
from mobilenets.runtime.sources import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT, KEPT_SIDE = 24, 480
"""Number of worst and of best images whose masks a report keeps for display, and the longer side of those masks, px."""


class Segmenter(Protocol):
    """What can be evaluated: a segmenter's `Predictor`, or a `MultiScale`."""

    @property
    def manifest(self) -> Manifest:
        """The network's manifest."""
        ...

    def stream(self, sources: Iterable[Source], *, batch: int | None = None) -> Iterator[Result]:
        """One result per source, in order."""
        ...


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """The metrics of one class.

    Args:
        label: the class's name.
        iou: intersection over union, 0 to 1; NaN if the class occurs neither in the ground truth nor in the prediction.
        recall: share of its pixels that were found; NaN if it has none.
        precision: share of the pixels predicted as this class that truly belong to it; NaN if there are none.
        boundary_f: boundary F-score, averaged over images; NaN if the class has no boundary.
        pixels: number of pixels that truly belong to it.
        images: number of images that truly contain it.
    """

    label: str
    iou: float
    recall: float
    precision: float
    boundary_f: float
    pixels: int
    images: int


@dataclass(frozen=True, slots=True)
class ImageMetrics:
    """The metrics of one image.

    Args:
        name: the image's name.
        mean_iou: mean IoU of the classes that truly occur in it; NaN if every pixel is ignored.
        accuracy: share of its pixels that are right.
    """

    name: str
    mean_iou: float
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The masks of one image, downsampled without mixing classes.

    Args:
        truth, predicted: label index of each pixel, h w; `IGNORE` in the ground truth for pixels that do not count.
    """

    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


Kept = tuple[float, int, str, Compared]
"""An image's rank, number and name, and its masks."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationReport:
    """The result of evaluating a segmenter.

    Args:
        model: the network's name.
        labels: the model's class names.
        colors: the labels' colors.
        names: names of the images that were read, N.
        hits: correctly predicted pixels of each class, per image, N classes.
        support: pixels that truly belong to each class, N classes.
        called: pixels predicted as each class, N classes; ignored pixels are in none of the three.
        confusion: pixels of all images per `[true label, predicted label]`.
        boundary_f: boundary F-score of each label per image, N classes; NaN if a label has no boundary.
        kept: masks of the worst and the best images, by name.
        tiles: for each cell of the confusion matrix, the image tiles with the most of its pixels; empty if many classes occur.
        unreadable: name and reason of each image or mask that could not be read.
        seconds: duration of the evaluation, decoding and masks included.
        metrics: the table of metrics, computed from the above.
        classes: the metrics of each label.
        images: the metrics of each image, in order.
    """

    model: str
    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    names: tuple[str, ...]
    hits: NDArray[np.int64]
    support: NDArray[np.int64]
    called: NDArray[np.int64]
    confusion: NDArray[np.int64]
    boundary_f: NDArray[np.float64]
    kept: Mapping[str, Compared] = field(default_factory=dict)
    tiles: Tiles = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    metrics: tuple[Metric, ...] = field(init=False)
    classes: tuple[LabelMetrics, ...] = field(init=False)
    images: tuple[ImageMetrics, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _classes(self))
        object.__setattr__(self, "images", tuple(_image(self, i) for i in range(len(self.names))))
        object.__setattr__(self, "metrics", tuple(_metrics(self)))

    def __len__(self) -> int:
        return len(self.names)

    def metric(self, name: str) -> Metric:
        """The metric with this name.

        Raises:
            UnknownNameError: there is no such metric.
        """
        return metric_named(self.metrics, name)

    def worst(self, k: int = 3) -> tuple[ImageMetrics, ...]:
        """The images with the lowest mean IoU, worst first. Images without pixels that count are left out."""
        known = [row for row in self.images if not np.isnan(row.mean_iou)]
        return tuple(sorted(known, key=lambda row: row.mean_iou)[:k])

    def best(self, k: int = 3) -> tuple[ImageMetrics, ...]:
        """The images with the highest mean IoU, best first, without those that `worst` would list too."""
        known = sorted((row for row in self.images if not np.isnan(row.mean_iou)), key=lambda row: -row.mean_iou)
        return tuple(known[: min(k, len(known) // 2)])


def evaluate_segmentation(
    predictor: Segmenter,
    samples: Iterable[Sample],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
    boundaries: bool = True,
) -> SegmentationReport:
    """A segmenter's performance on images with masks, at full size. Unreadable images are listed and not counted.

    Args:
        predictor: a predictor with any engine; images are preprocessed exactly as in production.
        samples: images whose masks hold indices into `labels`.
        labels: names of the data's classes; each must be a label of the model, in any order. The model may know more.
        progress: called with the number of images processed since the last call.
        batch: images that go through the network at once; the predictor's own by default.
        boundaries: whether to compare boundaries too, which takes as long as everything else together.

    Raises:
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    manifest = predictor.manifest
    table = np.full(256, IGNORE, np.uint8)
    table[: len(labels)] = label_columns(labels, manifest.labels)
    classes = len(manifest.labels)
    waiting: list[Sample] = []

    def remembered() -> Iterator[Sample]:
        for sample in samples:
            waiting.append(sample)
            yield sample

    start = time.perf_counter()
    names: list[str] = []
    unreadable: list[tuple[str, str]] = []
    counts: list[NDArray[np.int64]] = []
    edges: list[NDArray[np.float64]] = []
    confusion = np.zeros((classes, classes), np.int64)
    tiles: Tiles = {}
    worst: list[Kept] = []  # heaps: the best of the worst images is first, and the worst of the best ones
    best: list[Kept] = []
    for result in predictor.stream(remembered(), batch=batch):
        sample = waiting.pop(0)
        try:
            truth, predicted = _both(sample, result)
        except (ImageError, OSError) as error:
            unreadable.append((result.name, str(error)))
        else:
            truth = table[truth]
            matrix = segment_metrics.confusion(truth, predicted, classes)
            confusion += matrix
            few = np.count_nonzero(confusion.sum(axis=0) + confusion.sum(axis=1)) <= MOST_CLASSES
            tiles = merged(tiles, tiles_of(result.name, matrix, truth, predicted, beside=tiles)) if few else {}
            names.append(result.name)
            counts.append(np.stack([np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)]))
            edges.append(_edges(truth, predicted, classes).f_scores if boundaries else np.full(classes, np.nan))
            miou = segment_metrics.mean_iou(*counts[-1])
            if not np.isnan(miou):
                for kept, rank in ((worst, -miou), (best, miou)):
                    if len(kept) < KEPT or rank > kept[0][0]:
                        heapq.heappush(kept, (rank, len(names), result.name, Compared(_small(truth), _small(predicted))))
                        if len(kept) > KEPT:
                            heapq.heappop(kept)
        if progress is not None:
            progress(1)
    if not names:
        raise nothing_read(unreadable)
    hits, support, called = np.stack(counts, axis=1)
    return SegmentationReport(
        model=manifest.model,
        labels=manifest.labels,
        colors=colors(manifest),
        names=tuple(names),
        hits=hits,
        support=support,
        called=called,
        confusion=confusion,
        boundary_f=np.stack(edges),
        kept={name: compared for _, _, name, compared in (*worst, *best)},
        tiles=tiles,
        unreadable=tuple(unreadable),
        seconds=time.perf_counter() - start,
    )


def _both(sample: Sample, result: Result) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The true and the predicted class of each pixel, each H W.

    Raises:
        ImageError: the image or the mask cannot be read, or their sizes differ.
    """
    if result.prediction is None:
        raise ImageError(result.error)
    if not isinstance(result.prediction, Segmentation):
        raise UsageError("the model does not segment images")
    if sample.mask is None:
        raise ImageError("has no mask")
    truth, predicted = sample.mask.read(), result.prediction.classes
    if truth.shape != predicted.shape:
        (down, across), (height, width) = truth.shape, predicted.shape
        raise ImageError(f"its mask is {across} x {down} px, but the image is {width} x {height}")
    return truth, predicted


def _small(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask subsampled so that no side exceeds `KEPT_SIDE`. Rows and columns are dropped, so classes do not mix."""
    longer = max(mask.shape)
    if longer <= KEPT_SIDE:
        return mask.copy()
    rows, columns = ((np.arange(n * KEPT_SIDE // longer or 1) + 0.5) * longer // KEPT_SIDE for n in mask.shape)
    return mask[np.ix_(rows.astype(np.intp).clip(0, mask.shape[0] - 1), columns.astype(np.intp).clip(0, mask.shape[1] - 1))]


def _edges(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> Boundaries:
    return segment_metrics.boundaries(truth, predicted, classes, radius=segment_metrics.tolerance(*truth.shape))


def _classes(report: SegmentationReport) -> tuple[LabelMetrics, ...]:
    hits, support, called = (counts.sum(axis=0) for counts in (report.hits, report.support, report.called))
    ious = segment_metrics.ious(hits, support, called)
    recall, precision = segment_metrics.shares(hits, support), segment_metrics.shares(hits, called)
    edges = segment_metrics.means(report.boundary_f)
    shown = (report.support > 0).sum(axis=0)
    return tuple(
        LabelMetrics(
            label, float(ious[i]), float(recall[i]), float(precision[i]), float(edges[i]), int(support[i]), int(shown[i])
        )
        for i, label in enumerate(report.labels)
    )


def _image(report: SegmentationReport, i: int) -> ImageMetrics:
    hits, support, called = report.hits[i], report.support[i], report.called[i]
    pixels = int(support.sum())
    accuracy = int(hits.sum()) / pixels if pixels else float("nan")
    return ImageMetrics(report.names[i], segment_metrics.mean_iou(hits, support, called), accuracy)


def mean_iou_of(hits: NDArray[np.int64], support: NDArray[np.int64], predicted: NDArray[np.int64]) -> Statistic:
    """The mean IoU as a function of how often each image counts.

    Args:
        hits, support, predicted: pixels of each class in each image, N classes; as in `SegmentationReport`.
    """

    def miou(drawn: NDArray[np.int64]) -> float:
        return segment_metrics.mean_iou(drawn @ hits, drawn @ support, drawn @ predicted)

    return miou


def _metrics(report: SegmentationReport) -> Iterator[Metric]:
    """The metrics, each with its confidence interval by bootstrap over images."""
    present = int((report.support.sum(axis=0) > 0).sum())

    def figure(name: str, title: str, of: Statistic, note: str, minor: bool = False) -> Metric:
        value = of(np.ones(len(report), np.int64))
        interval = bootstrap(of, len(report)) if len(report) > 1 else None
        return Metric(name, title, value, interval, note, minor)

    miou = mean_iou_of(report.hits, report.support, report.called)

    def accuracy(drawn: NDArray[np.int64]) -> float:
        pixels = int((drawn @ report.support).sum())
        return int((drawn @ report.hits).sum()) / pixels if pixels else float("nan")

    def mean_accuracy(drawn: NDArray[np.int64]) -> float:
        return segment_metrics.mean_accuracy(drawn @ report.hits, drawn @ report.support)

    yield figure("miou", "mean IoU", miou, f"mean over the {present} classes that occur")
    yield figure("pixel_accuracy", "pixel accuracy", accuracy, f"of {int(report.support.sum()):,} pixels that count")
    alone = present == 1  # then it equals the pixel accuracy
    yield figure("mean_accuracy", "mean accuracy", mean_accuracy, "mean recall of the classes", alone)
    known = ~np.isnan(report.boundary_f)
    if known.any():
        scores = np.nan_to_num(report.boundary_f)

        def boundary_f(drawn: NDArray[np.int64]) -> float:
            per_class = segment_metrics.shares(drawn @ scores, drawn @ known)
            rated = ~np.isnan(per_class)
            return float(per_class[rated].mean()) if rated.any() else float("nan")

        note = f"boundaries within {segment_metrics.TOLERANCE:.2%} of the diagonal"
        yield figure("boundary_f", "boundary F-score", boundary_f, note)

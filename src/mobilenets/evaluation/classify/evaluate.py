"""`evaluate_classification`: run the shipped predictor on labeled images and measure its predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.data.samples import Sample
from mobilenets.evaluation.classify import calibration, metrics
from mobilenets.evaluation.classify.calibration import Bin
from mobilenets.evaluation.classify.metrics import ClassMetrics
from mobilenets.evaluation.intervals import bootstrap, wilson
from mobilenets.evaluation.metric import Metric, label_columns, metric_named, nothing_read
from mobilenets.runtime.classify import Classification, softmax, temperature
from mobilenets.runtime.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Row:
    """One image of an evaluation.

    Args:
        name: the image's name.
        truth: its true label.
        predicted: the label with the highest score.
        score: the score of the predicted label.
        truth_score: the score of the true label.
    """

    name: str
    truth: str
    predicted: str
    score: float
    truth_score: float

    @property
    def correct(self) -> bool:
        """Whether the prediction is right."""
        return self.truth == self.predicted


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The result of evaluating a classifier.

    Args:
        model: the network's name.
        labels: the model's class names, in the order of the columns.
        names: names of the images that were read, N.
        truth: index of each image's true label, N.
        logits: logits before the temperature is applied, N classes.
        scores: scores of the labels, N classes.
        temperature: the temperature that the scores were computed with.
        unreadable: name and reason of each image that could not be read.
        seconds: duration of the evaluation, decoding included.
        metrics: the table of metrics, computed from the above.
        classes: the metrics of each class.
    """

    model: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    truth: NDArray[np.int64]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    temperature: float
    unreadable: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    metrics: tuple[Metric, ...] = field(init=False)
    classes: tuple[ClassMetrics, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(_metrics(self)))
        object.__setattr__(self, "classes", metrics.per_class(self.confusion, self.labels))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the label with the highest score, N."""
        highest: NDArray[np.int64] = self.scores.argmax(axis=1)
        return highest

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The highest score, N."""
        highest: NDArray[np.float32] = self.scores.max(axis=1)
        return highest

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Number of images per `[true label, predicted label]`."""
        return metrics.confusion_matrix(self.truth, self.predicted, len(self.labels))

    @property
    def reliability(self) -> tuple[Bin, ...]:
        """The bins of the reliability diagram."""
        return calibration.reliability(self.confidence, self.predicted == self.truth)

    @property
    def positive(self) -> NDArray[np.bool_] | None:
        """For two labels that both occur: whether each image truly has the second; otherwise None."""
        if len(self.labels) != 2 or len(np.unique(self.truth)) != 2:
            return None
        positive: NDArray[np.bool_] = self.truth == 1
        return positive

    def metric(self, name: str) -> Metric:
        """The metric with this name.

        Raises:
            UnknownNameError: there is no such metric.
        """
        return metric_named(self.metrics, name)

    def rows(self) -> tuple[Row, ...]:
        """One row per image that was read, in order."""
        return tuple(self._row(i) for i in range(len(self)))

    def worst(self, k: int = 3) -> tuple[Row, ...]:
        """The wrong predictions with the highest scores, the worst first."""
        wrong = np.flatnonzero(self.predicted != self.truth)
        order = wrong[np.argsort(-self.confidence[wrong], kind="stable")]
        return tuple(self._row(int(i)) for i in order[:k])

    def best(self, k: int = 3) -> tuple[Row, ...]:
        """Right predictions with the highest scores, taken from each class in turn."""
        right = np.flatnonzero(self.predicted == self.truth)
        order = right[np.argsort(-self.confidence[right], kind="stable")]
        turns = np.zeros(len(order), np.int64)  # for each image, how many of its class come before it
        for label in np.unique(self.truth[order]):
            own = self.truth[order] == label
            turns[own] = np.arange(own.sum())
        return tuple(self._row(int(i)) for i in order[np.argsort(turns, kind="stable")][:k])

    def _row(self, i: int) -> Row:
        scores, truth = self.scores[i], int(self.truth[i])
        predicted = int(scores.argmax())
        return Row(self.names[i], self.labels[truth], self.labels[predicted], float(scores[predicted]), float(scores[truth]))


def evaluate_classification(
    predictor: Predictor,
    samples: Iterable[Sample],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> Report:
    """A classifier's performance on labeled images. Unreadable images are listed in the report and not counted.

    Args:
        predictor: a predictor with any engine; images are preprocessed exactly as in production.
        samples: images whose labels are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model, in any order. The model may know more.
        progress: called with the number of images processed since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    columns = label_columns(labels, predictor.manifest.labels)
    truth: list[int] = []

    def remembered() -> Iterable[Sample]:
        for sample in samples:
            truth.append(columns[sample.label])
            yield sample

    start = time.perf_counter()
    names, kept, logits, scores, unreadable = [], [], [], [], []
    for i, result in enumerate(predictor.stream(remembered(), batch=batch)):
        if not isinstance(result.prediction, Classification):
            unreadable.append((result.name, result.error))
        else:
            names.append(result.name)
            kept.append(truth[i])
            logits.append(result.prediction.logits)
            scores.append(result.prediction.scores)
        if progress is not None:
            progress(1)
    if not names:
        raise nothing_read(unreadable)
    return Report(
        model=predictor.manifest.model,
        labels=predictor.manifest.labels,
        names=tuple(names),
        truth=np.array(kept, np.int64),
        logits=np.stack(logits),
        scores=np.stack(scores),
        temperature=temperature(predictor.manifest.head),
        unreadable=tuple(unreadable),
        seconds=time.perf_counter() - start,
    )


def _metrics(report: Report) -> Iterable[Metric]:
    truth, predicted, classes = report.truth, report.predicted, len(report.labels)
    rank = metrics.ranks(report.scores, truth)
    for k in (1, 5) if classes > 5 else (1,):
        hits = int((rank < k).sum())
        note = f"{hits:,} of {len(report):,} right"
        yield Metric(f"top{k}", f"top-{k} accuracy", hits / len(report), wilson(hits, len(report)), note)

    support = np.bincount(truth)
    even = len(set(support[support > 0].tolist())) == 1  # then balanced accuracy equals accuracy
    for name, title, statistic, note, minor in (
        ("balanced_accuracy", "balanced accuracy", metrics.balanced_accuracy, "mean recall of the classes", even),
        ("macro_f1", "macro F1", metrics.macro_f1, "mean F1 of the classes", False),
    ):
        of_counts = partial(statistic, truth, predicted, classes)
        yield Metric(name, title, of_counts(), bootstrap(of_counts, len(report)), note, minor)
    if report.positive is not None:
        auc = metrics.auc_of_counts(report.positive, report.scores[:, 1])
        value = auc(np.ones(len(report), np.int64))
        note = f"'{report.labels[1]}' against '{report.labels[0]}'"
        yield Metric("roc_auc", "ROC-AUC", value, bootstrap(auc, len(report)), note)
    losses = calibration.losses(report.logits, truth, report.temperature)
    note = "nats; lower is better"
    if report.temperature != 1:
        note = f"nats; {calibration.negative_log_likelihood(report.logits, truth):.3f} without the fitted temperature"
    interval = bootstrap(lambda counts: float(counts @ losses) / len(report), len(report))
    yield Metric("nll", "negative log likelihood", float(losses.mean()), interval, note)
    error = calibration.expected_calibration_error(report.reliability)
    note = f"{calibration.BINS} bins; lower is better"
    if report.temperature != 1:
        raw = softmax(report.logits)
        bins = calibration.reliability(raw.max(axis=1), raw.argmax(axis=1) == truth)
        before = calibration.expected_calibration_error(bins)
        note = f"{calibration.BINS} bins; {before:.1%} before dividing the logits by the temperature {report.temperature:.2f}"
    yield Metric("ece", "calibration error", error, note=note)

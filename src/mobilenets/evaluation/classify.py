"""`evaluate_classification`: the shipped predictor over labelled images, and everything that follows from its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilenets.errors import DataError
from mobilenets.evaluation import calibration, metrics
from mobilenets.evaluation.calibration import Bin
from mobilenets.evaluation.metrics import ClassMetrics, Interval
from mobilenets.runtime.classify import Classification, softmax, temperature
from mobilenets.runtime.predictor import Predictor
from mobilenets.table import unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LabelledImage(Protocol):
    """An image with its answer; `mobilenets.data.samples.Sample` is one."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def label(self) -> int:
        """Index into the labels of the data."""
        ...

    def read(self) -> bytes:
        """The encoded image."""
        ...


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table of metrics.

    Args:
        name: as it stands in `report.json`.
        title: as people read it.
        value: the figure.
        interval: of 95% confidence; None where none is computed.
        note: what the figure means, in a few words.
    """

    name: str
    title: str
    value: float
    interval: Interval | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One image of an evaluation.

    Args:
        name: of the image.
        truth: its label.
        predicted: the label with the highest score.
        score: that score.
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
    """What an evaluation found.

    Args:
        model: the network's name.
        labels: of the model, in the order of the columns.
        names: of the images that were read, N.
        truth: index of the true label of each, N.
        logits: N classes, before the temperature.
        scores: N classes.
        temperature: that the scores were computed with.
        unreadable: name and reason of each image that could not be read.
        seconds: the evaluation took, decoding included.
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
        """Counts `[true label, predicted label]`."""
        return metrics.confusion_matrix(self.truth, self.predicted, len(self.labels))

    @property
    def reliability(self) -> tuple[Bin, ...]:
        """The bars of the reliability diagram."""
        return calibration.reliability(self.confidence, self.predicted == self.truth)

    @property
    def positive(self) -> NDArray[np.bool_] | None:
        """With two labels that both occur, whether each image truly is of the second; else None."""
        if len(self.labels) != 2 or len(np.unique(self.truth)) != 2:
            return None
        positive: NDArray[np.bool_] = self.truth == 1
        return positive

    def metric(self, name: str) -> Metric:
        """The metric of that name.

        Raises:
            UnknownNameError: the evaluation has none of that name.
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

    def _row(self, i: int) -> Row:
        scores, truth = self.scores[i], int(self.truth[i])
        predicted = int(scores.argmax())
        return Row(self.names[i], self.labels[truth], self.labels[predicted], float(scores[predicted]), float(scores[truth]))


def evaluate_classification(
    predictor: Predictor,
    samples: Iterable[LabelledImage],
    labels: Sequence[str],
    *,
    progress: Callable[[int], None] | None = None,
    batch: int | None = None,
) -> Report:
    """How well a predictor does on labelled images. What cannot be read is named in the report and counts nowhere.

    Args:
        predictor: with any engine; the images take the way they take in production.
        samples: images whose labels are indices into `labels`.
        labels: names of the data's classes; each must be a label of the model, in any order. The model may know more.
        progress: called with the number of images done since the last call.
        batch: images that go through the network at once; the predictor's own by default.

    Raises:
        DataError: a class of the data is unknown to the model, or no image could be read.
    """
    columns = label_columns(labels, predictor.manifest.labels)
    truth: list[int] = []

    def remembered() -> Iterable[LabelledImage]:
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


def metric_named(metrics: Iterable[Metric], name: str) -> Metric:
    """The metric of that name.

    Raises:
        UnknownNameError: none has that name.
    """
    named = {metric.name: metric for metric in metrics}
    if name not in named:
        raise unknown_name("metric", name, named)
    return named[name]


def label_columns(labels: Sequence[str], known: Sequence[str]) -> tuple[int, ...]:
    """For each label of the data, its column in the model's outputs, by name.

    Raises:
        DataError: the model does not know a label.
    """
    columns = {label: i for i, label in enumerate(known)}
    missing = [label for label in labels if label not in columns]
    if missing:
        raise DataError(
            f"the data has {_listed(missing)}, which the model does not know; it knows {_listed(known)}",
            hint="name the folders or labels of the data as the model's labels, or train on this data",
        )
    return tuple(columns[label] for label in labels)


def _metrics(report: Report) -> Iterable[Metric]:
    truth, predicted, classes = report.truth, report.predicted, len(report.labels)
    places = metrics.ranks(report.scores, truth)
    for k in (1, 5) if classes > 5 else (1,):
        hits = int((places < k).sum())
        note = f"{hits:,} of {len(report):,} right"
        yield Metric(f"top{k}", f"top-{k} accuracy", hits / len(report), metrics.wilson(hits, len(report)), note)

    for name, title, statistic, note in (
        ("balanced_accuracy", "balanced accuracy", metrics.balanced_accuracy, "mean recall of the classes"),
        ("macro_f1", "macro F1", metrics.macro_f1, "mean F1 of the classes"),
    ):
        of_counts = partial(statistic, truth, predicted, classes)
        yield Metric(name, title, of_counts(), metrics.bootstrap(of_counts, len(report)), note)
    if report.positive is not None:
        auc = metrics.auc_of_counts(report.positive, report.scores[:, 1])
        value = auc(np.ones(len(report), np.int64))
        note = f"'{report.labels[1]}' against '{report.labels[0]}'"
        yield Metric("roc_auc", "ROC-AUC", value, metrics.bootstrap(auc, len(report)), note)
    loss = calibration.negative_log_likelihood(report.logits, truth, report.temperature)
    yield Metric("nll", "negative log likelihood", loss, note="nats; lower is better")
    error = calibration.expected_calibration_error(report.reliability)
    note = f"{calibration.BINS} bins; lower is better"
    if report.temperature != 1:
        raw = softmax(report.logits)
        bins = calibration.reliability(raw.max(axis=1), raw.argmax(axis=1) == truth)
        before = calibration.expected_calibration_error(bins)
        note = f"{calibration.BINS} bins; {before:.1%} before dividing the logits by the temperature {report.temperature:.2f}"
    yield Metric("ece", "calibration error", error, note=note)


def nothing_read(unreadable: Sequence[tuple[str, str]]) -> DataError:
    """The error of an evaluation that read no image.

    Args:
        unreadable: name and reason of each image that could not be read.
    """
    if not unreadable:
        return DataError("there are no images to evaluate")
    name, error = unreadable[0]
    return DataError(f"none of the {len(unreadable)} images could be read; '{name}': {error}", hint="mobilenets check DATA")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"'{name}'" for name in names[:5]) + more

"""`Metric`: one figure of an evaluation, and helpers shared by the evaluations of all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mobilenets.data.spelling import DIFFER, twins
from mobilenets.errors import DataError
from mobilenets.evaluation.intervals import Interval
from mobilenets.table import unknown_name

NAMED = 5  # maximum number of labels in a message


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table of metrics.

    Args:
        name: its key in `report.json`.
        title: its title, for people.
        value: the figure.
        interval: 95% confidence interval; None if none is computed.
        note: what the figure means, in a few words.
        minor: whether it is a variant of another metric; reports list it in a table and do not give it a card.
    """

    name: str
    title: str
    value: float
    interval: Interval | None = None
    note: str = ""
    minor: bool = False


def metric_named(metrics: Iterable[Metric], name: str) -> Metric:
    """The metric with this name.

    Raises:
        UnknownNameError: there is no such metric.
    """
    named = {metric.name: metric for metric in metrics}
    if name not in named:
        raise unknown_name("metric", name, named)
    return named[name]


def label_columns(labels: Sequence[str], known: Sequence[str]) -> tuple[int, ...]:
    """For each label of the data, the index of the model's output with the same name.

    Raises:
        DataError: the model does not know a label.
    """
    columns = {label: i for i, label in enumerate(known)}
    missing = [label for label in labels if label not in columns]
    alike = twins(labels, known)
    if missing and set(missing) <= set(alike):
        pairs = ", ".join(f"'{label}' is '{alike[label]}'" for label in missing[:NAMED])
        raise DataError(
            f"the data has {_listed(missing)}, and the model labels that {DIFFER}",
            hint=f"spell them as the model does: {pairs}; data.spelling.spelled_as(dataset, labels) renames them",
        )
    if missing:
        raise DataError(
            f"the data has {_listed(missing)}, which the model does not know; it knows {_listed(known)}",
            hint="name the folders or labels of the data as the model's labels, or train on this data",
        )
    return tuple(columns[label] for label in labels)


def nothing_read(unreadable: Sequence[tuple[str, str]]) -> DataError:
    """The error for an evaluation in which no image could be read.

    Args:
        unreadable: name and reason of each image that could not be read.
    """
    if not unreadable:
        return DataError("there are no images to evaluate")
    name, error = unreadable[0]
    return DataError(f"none of the {len(unreadable)} images could be read; '{name}': {error}", hint="mobilenets check DATA")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:NAMED]) + more

"""`KINDS`: the kinds of reports, by the class of the evaluation's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.metric import Metric
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.reports.classify import report as classify
from mobilenets.reports.detect import report as detect
from mobilenets.reports.page import Brief, Content, Remark
from mobilenets.reports.segment import report as segment
from mobilenets.specs.model import Task


class Evaluated(Protocol):
    """What the results of all evaluations have in common."""

    @property
    def model(self) -> str:
        """The network's name."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images that were read."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's class names."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The table of metrics, the most important one first."""
        ...

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of each image that could not be read."""
        ...

    @property
    def seconds(self) -> float:
        """Duration of the evaluation, decoding included."""
        ...

    def __len__(self) -> int:
        """The number of images that were read."""
        ...


class Describe(Protocol):
    """Puts a report into words, plots and images."""

    def __call__(self, report: Any, *, read_image: Callable[[str], bytes], worst: int) -> Content:  # Any: the kind's report
        """The plots, the tables, and the `worst` images."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How reports of one task are written.

    Args:
        task: the network's task.
        content: the task's part of the page.
        data: the task's entries in `report.json`, from the report and the number of worst mistakes to list.
        csv: the text of `predictions.csv`.
        brief: what the command line prints, from the report and the number of worst mistakes to list.
        remarks: sentences about what the metrics mean.
        support: the number of images or objects of each class.
        noun: what `support` counts: "image" or "object".
        per_image: the results for each image that `compare` needs.
    """

    task: Task
    content: Describe
    data: Callable[[Any, int], Mapping[str, object]]  # Any: the kind's report
    csv: Callable[[Any], str]
    brief: Callable[[Any, int], Brief]
    remarks: Callable[[Any], list[Remark]]
    support: Callable[[Any], Mapping[str, int]]
    noun: str
    per_image: Callable[[Any], Mapping[str, NDArray[Any]]]


KINDS: dict[type, Kind] = {
    Report: Kind(
        task="classify",
        content=classify.content,
        data=classify.data,
        csv=classify.csv_text,
        brief=classify.brief,
        remarks=classify.remarks,
        support=classify.support,
        noun="image",
        per_image=classify.per_image,
    ),
    DetectionReport: Kind(
        task="detect",
        content=detect.content,
        data=detect.data,
        csv=detect.csv_text,
        brief=detect.brief,
        remarks=detect.remarks,
        support=detect.support,
        noun="object",
        per_image=detect.per_image,
    ),
    SegmentationReport: Kind(
        task="segment",
        content=segment.content,
        data=segment.data,
        csv=segment.csv_text,
        brief=segment.brief,
        remarks=segment.remarks,
        support=segment.support,
        noun="image",
        per_image=segment.per_image,
    ),
}

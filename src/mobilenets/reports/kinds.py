"""`KINDS`: the kinds of reports there are, by what was evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.metric import Metric
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.reports.classify import report as classify
from mobilenets.reports.detect import report as detect
from mobilenets.reports.page import Brief, Content
from mobilenets.reports.segment import report as segment


class Evaluated(Protocol):
    """What every report of an evaluation has."""

    @property
    def model(self) -> str:
        """The network's name."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the model."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The table of metrics, the one that matters most first."""
        ...

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of each image that could not be read."""
        ...

    @property
    def seconds(self) -> float:
        """The evaluation took, decoding included."""
        ...

    def __len__(self) -> int:
        """Images that were read."""
        ...


class Describe(Protocol):
    """Finds what a report has to say to people."""

    def __call__(self, report: Any, *, read_image: Callable[[str], bytes], worst: int) -> Content:  # Any: the kind's report
        """Plots, tables, and the `worst` images to look at."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How a report is written.

    Args:
        content: for people.
        data: its own entries of `report.json`; takes the report and how many of the worst mistakes to name.
        csv: `predictions.csv`.
        brief: for the command line; takes the report and how many of the worst mistakes to name.
    """

    content: Describe
    data: Callable[[Any, int], Mapping[str, object]]  # Any: the kind's report
    csv: Callable[[Any], str]
    brief: Callable[[Any, int], Brief]


# fmt: off
KINDS: dict[type, Kind] = {
    Report:             Kind(classify.content, classify.data, classify.csv_text, classify.brief),
    DetectionReport:    Kind(detect.content, detect.data, detect.csv_text, detect.brief),
    SegmentationReport: Kind(segment.content, segment.data, segment.csv_text, segment.brief),
}
# fmt: on

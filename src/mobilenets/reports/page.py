"""The report as one HTML file: pictures and plots inside, no script, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mobilenets.errors import MissingExtraError
from mobilenets.reports import plots as drawing
from mobilenets.reports import record
from mobilenets.reports.plots import Plot
from mobilenets.reports.record import Context
from mobilenets.runtime.evaluation import Metric, Report, Row

CLASSES, FILES = 100, 50


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction with its picture.

    Args:
        row: the prediction.
        jpeg: its picture, small; empty where it cannot be read any more.
        uri: the same as a data URI.
    """

    row: Row
    jpeg: bytes
    uri: str


def to_html(
    report: Report,
    *,
    title: str,
    context: Context,
    next_command: str,
    plots: Sequence[Plot],
    mistakes: Sequence[Mistake],
) -> str:
    """The page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "train") from error
    source = files("mobilenets.reports").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    rows = [row for row in report.classes if row.support]
    shown = sorted(rows, key=lambda row: row.f1)[:CLASSES] if len(rows) > CLASSES else rows
    return environment.from_string(source).render(
        title=title,
        subtitle=record.subtitle(report),
        speed=f"{len(report) / report.seconds:.0f} pictures a second" if report.seconds else "",
        metrics=[_card(metric) for metric in report.metrics],
        wrong=int((report.predicted != report.truth).sum()),
        mistakes=[{"row": one.row, "uri": one.uri} for one in mistakes],
        plots=[{"plot": one, "svg": drawing.svg(one.figure, one.name)} for one in plots],
        confused=record.confused(report) if len(report.labels) > 2 else [],
        classes=shown,
        hidden_classes=len(rows) - len(shown),
        unreadable=report.unreadable[:FILES],
        hidden_unreadable=len(report.unreadable[FILES:]),
        context={section: {key: record.plain(value) for key, value in facts.items()} for section, facts in context.items()},
        next_command=next_command,
    )


def _card(metric: Metric) -> dict[str, Any]:  # Any: text and numbers for the template
    interval = record.interval_text(metric)
    span = {"low": metric.interval.low * 100, "high": metric.interval.high * 100} if metric.interval and interval else None
    return {
        "title": metric.title,
        "value": record.value_text(metric),
        "percent": metric.value * 100,
        "interval": interval,
        "span": span,
        "note": metric.note,
    }

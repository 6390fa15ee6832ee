"""The report as one HTML file: images and plots inside, no script, light and dark."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from mobilenets.errors import MissingExtraError
from mobilenets.evaluation.metric import Metric
from mobilenets.reports import plots, words
from mobilenets.reports.page import Page

FILES = 50  # that could not be read and are named


def to_html(page: Page) -> str:
    """The page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "report") from error
    source = files("mobilenets.reports").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        page=page,
        content=page.content,
        metrics=[_card(metric) for metric in page.metrics],
        plots=[{"plot": one, "svg": plots.svg(one.figure, one.name)} for one in page.content.plots],
        unreadable=page.unreadable[:FILES],
        hidden_unreadable=len(page.unreadable[FILES:]),
        context={section: {key: words.plain(value) for key, value in facts.items()} for section, facts in page.context.items()},
    )


def _card(metric: Metric) -> dict[str, Any]:  # Any: text and numbers for the template
    interval = words.interval(metric)
    span = {"low": metric.interval.low * 100, "high": metric.interval.high * 100} if metric.interval and interval else None
    return {
        "title": metric.title,
        "value": words.value(metric),
        "percent": metric.value * 100,
        "interval": interval,
        "span": span,
        "note": metric.note,
    }

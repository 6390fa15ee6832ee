"""Writes a report as a single HTML file with images, plots and a short script; for light and dark screens, phones and print."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from mobilenets.errors import MissingExtraError
from mobilenets.evaluation.metric import Metric
from mobilenets.reports import plots, words
from mobilenets.reports.escape import printable
from mobilenets.reports.page import Page

FILES = 50  # maximum number of unreadable files that are named


def to_html(page: Page) -> str:
    """The page as HTML. Its security policy allows only its own script, whatever file names and labels contain.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return render(
        "report.html.j2",
        page=page,
        content=page.content,
        metrics=[_card(metric) for metric in page.metrics if not metric.minor],
        minor=words.metric_lines([metric for metric in page.metrics if metric.minor]),
        plots=[{"plot": plot, "svg": plots.svg(plot.figure, plot.name)} for plot in page.content.plots],
        unreadable=page.unreadable[:FILES],
        hidden_unreadable=len(page.unreadable[FILES:]),
        context={
            section: {key: text for key, value in facts.items() if (text := words.plain(value))}
            for section, facts in page.context.items()
        },
    )


def render(template: str, **values: object) -> str:
    """A page from a template in this folder, with the style and the script that all pages share.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "report") from error
    script, style = (_resource(name) for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.from_string(_resource(template)).render(script=script, style=style, digest=digest, **values)


def _resource(name: str) -> str:
    return files("mobilenets.reports").joinpath(name).read_text(encoding="utf-8")


def _card(metric: Metric) -> dict[str, Any]:  # Any: text and numbers for the template
    interval = words.interval(metric)
    share = metric.name not in words.PLAIN or metric.name == "roc_auc"
    span = {"low": metric.interval.low * 100, "high": metric.interval.high * 100} if metric.interval and interval else None
    return {
        "title": metric.title,
        "value": words.value(metric),
        "percent": metric.value * 100,
        "interval": interval,
        "span": span if share else None,
        "note": metric.note,
    }

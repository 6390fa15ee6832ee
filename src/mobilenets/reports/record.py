"""A report as JSON for programs, Markdown for a repository, and CSV with one line per picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobilenets.runtime.evaluation import Metric, Report, Row

Context = Mapping[str, Mapping[str, object]]
"""Titled tables of facts about the run: {"Recipe": {"epochs": 30, ...}, "Data": {...}}."""


def to_json(report: Report, *, title: str, context: Context, next_command: str, worst: int) -> str:
    """The report as indented JSON; what cannot be computed is null."""
    truth, predicted = np.nonzero(report.confusion)
    data = {
        "title": title,
        "model": report.model,
        "labels": report.labels,
        "temperature": report.temperature,
        "pictures": len(report),
        "seconds": round(report.seconds, 3),
        "metrics": {one.name: _metric(one) for one in report.metrics},
        "classes": [
            {"label": row.label, "precision": row.precision, "recall": row.recall, "f1": row.f1, "support": row.support}
            for row in report.classes
        ],
        "confusion": [
            {"truth": report.labels[i], "predicted": report.labels[j], "count": int(report.confusion[i, j])}
            for i, j in zip(truth, predicted, strict=True)
        ]
        if len(truth) <= 10_000
        else None,
        "reliability": [
            {"low": one.low, "high": one.high, "count": one.count, "score": one.score, "accuracy": one.accuracy}
            for one in report.reliability
        ],
        "worst": [
            {"name": row.name, "truth": row.truth, "predicted": row.predicted, "score": row.score}
            for row in report.worst(worst)
        ],
        "unreadable": [{"name": name, "error": error} for name, error in report.unreadable],
        "context": context,
        "next_command": next_command,
    }
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, default=str) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """One line per picture: name, truth, predicted, score, the true label's score, whether it is right."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "truth", "predicted", "score", "truth_score", "correct"))
    for row in rows:
        values = (row.name, row.truth, row.predicted, f"{row.score:.6f}", f"{row.truth_score:.6f}", int(row.correct))
        writer.writerow(values)
    return buffer.getvalue()


def to_markdown(
    report: Report,
    *,
    title: str,
    context: Context,
    next_command: str,
    plots: Sequence[tuple[str, str]],
    mistakes: Sequence[tuple[Row, str]],
) -> str:
    """The report as Markdown.

    Args:
        plots: title and file name of each plot.
        mistakes: the worst ones, each with the file name of its picture, "" where it cannot be shown.
    """
    parts = [f"# {title}", subtitle(report), _table(("metric", "value", "95% interval", ""), metric_lines(report))]
    if mistakes:
        lines = [
            (f"![]({_link(file)})" if file else "", f"`{row.name}`", row.truth, row.predicted, f"{row.score:.1%}")
            for row, file in mistakes
        ]
        parts += ["## Worst mistakes", _table(("picture", "file", "truth", "predicted", "score"), lines)]
    for plot_title, file in plots:
        parts += [f"## {plot_title}", f"![{plot_title}]({_link(file)})"]
    classes = [
        (row.label, f"{row.precision:.1%}", f"{row.recall:.1%}", f"{row.f1:.1%}", f"{row.support:,}")
        for row in report.classes
        if row.support
    ]
    parts += ["## Classes in numbers", _table(("class", "precision", "recall", "F1", "pictures"), classes)]
    if report.unreadable:
        parts += ["## Not readable", _table(("file", "reason"), [(f"`{name}`", error) for name, error in report.unreadable])]
    for section, facts in context.items():
        parts += [f"## {section}", _table(("", ""), [(key, plain(value)) for key, value in facts.items()])]
    if next_command:
        parts += ["## Next", f"```\n{next_command}\n```"]
    return "\n\n".join(parts) + "\n"


def subtitle(report: Report) -> str:
    """What was evaluated, in one line."""
    occurring = sum(row.support > 0 for row in report.classes)
    classes = f"{occurring}" if occurring == len(report.labels) else f"{occurring} of {len(report.labels):,}"
    unreadable = f", {len(report.unreadable):,} not readable" if report.unreadable else ""
    return f"{report.model} on {len(report):,} pictures of {classes} classes{unreadable}"


def metric_lines(report: Report) -> list[tuple[str, str, str, str]]:
    """Title, value, interval and note of each metric, as people read them."""
    return [(one.title, value_text(one), interval_text(one), one.note) for one in report.metrics]


def value_text(metric: Metric) -> str:
    """The value: a percentage, but for likelihood and the area under the curve."""
    if math.isnan(metric.value):
        return "-"
    return f"{metric.value:.3f}" if metric.name in ("nll", "roc_auc") else f"{metric.value:.1%}"


def interval_text(metric: Metric) -> str:
    """The interval in the unit of its value, or nothing."""
    if metric.interval is None or math.isnan(metric.interval.low):
        return ""
    low, high = metric.interval.low, metric.interval.high
    return f"{low:.3f} to {high:.3f}" if metric.name == "roc_auc" else f"{low:.1%} to {high:.1%}"


def confused(report: Report, most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of labels that are taken for one another most often: true label, predicted label, how often."""
    counts = report.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(report.labels)) for place in order]
    return [(report.labels[i], report.labels[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def plain(value: object) -> str:
    """A value of a context as one line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metric(metric: Metric) -> dict[str, object]:
    interval = metric.interval
    return {
        "value": metric.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "note": metric.note,
    }


def _finite(data: Any) -> Any:  # Any: whatever JSON can hold
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(one) for one in data] if isinstance(data, list | tuple) else data


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _link(file: str) -> str:
    return file.replace(" ", "%20")

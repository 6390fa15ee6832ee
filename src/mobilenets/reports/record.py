"""Writes a report as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mobilenets.documents import finite
from mobilenets.evaluation.metric import Metric
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.page import Context, Remark

PER_IMAGE = "per_image.npz"
"""The file in a report's folder that `compare` reads."""


def to_json(
    report: Evaluated, *, title: str, context: Context, next_command: str, worst: int, remarks: Sequence[Remark] = ()
) -> str:
    """The report as indented JSON; values that cannot be computed are null."""
    data = {
        "title": title,
        "model": report.model,
        "labels": report.labels,
        "images": len(report),
        "seconds": round(report.seconds, 3),
        "metrics": {metric.name: _metric(metric) for metric in report.metrics},
        "remarks": [{"text": remark.text, "warning": remark.warning} for remark in remarks],
        **KINDS[type(report)].data(report, worst),
        "unreadable": [{"name": name, "error": error} for name, error in report.unreadable],
        "context": context,
        "next_command": next_command,
    }
    return json.dumps(finite(data), indent=1, ensure_ascii=False, default=str) + "\n"


def _metric(metric: Metric) -> dict[str, object]:
    interval = metric.interval
    return {
        "value": metric.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "note": metric.note,
    }

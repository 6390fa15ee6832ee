"""A report as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mobilenets.evaluation.metric import Metric
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.page import Context


def to_json(report: Evaluated, *, title: str, context: Context, next_command: str, worst: int) -> str:
    """The report as indented JSON; what cannot be computed is null."""
    data = {
        "title": title,
        "model": report.model,
        "labels": report.labels,
        "images": len(report),
        "seconds": round(report.seconds, 3),
        "metrics": {one.name: _metric(one) for one in report.metrics},
        **KINDS[type(report)].data(report, worst),
        "unreadable": [{"name": name, "error": error} for name, error in report.unreadable],
        "context": context,
        "next_command": next_command,
    }
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, default=str) + "\n"


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

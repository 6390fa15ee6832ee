"""Pooled reports: one report from those of several models on disjoint images, as in cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.evaluators import AnyReport
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.evaluation.segment.tiles import merged
from mobilenets.runtime.classify import softmax
from mobilenets.specs.model import Task


def pooled(reports: Sequence[AnyReport], task: Task) -> AnyReport:
    """One report on the images of all given reports.

    Args:
        reports: at least one, all with the same labels; no image may be in two of them.
        task: the task of all of them.
    """
    return _POOLED[task](reports)


def at_temperature(report: Report, temperature: float) -> Report:
    """A classifier's report with the scores recomputed from the same logits at this temperature."""
    return replace(report, scores=softmax(report.logits / temperature), temperature=temperature)


def _classification(reports: Sequence[Report]) -> Report:
    return replace(
        reports[0],
        **_common(reports),
        truth=np.concatenate([report.truth for report in reports]),
        logits=np.concatenate([report.logits for report in reports]),
        scores=np.concatenate([report.scores for report in reports]),
    )


def _detection(reports: Sequence[DetectionReport]) -> DetectionReport:
    judged = tuple(image for report in reports for image in report.judged)
    return replace(reports[0], **_common(reports), judged=judged, model_thresholds=())


def _segmentation(reports: Sequence[SegmentationReport]) -> SegmentationReport:
    return replace(
        reports[0],
        **_common(reports),
        hits=np.concatenate([report.hits for report in reports]),
        support=np.concatenate([report.support for report in reports]),
        called=np.concatenate([report.called for report in reports]),
        confusion=np.sum([report.confusion for report in reports], axis=0),
        boundary_f=np.concatenate([report.boundary_f for report in reports]),
        kept={name: masks for report in reports for name, masks in report.kept.items()},
        tiles=reduce(merged, (report.tiles for report in reports)),
    )


def _common(reports: Sequence[AnyReport]) -> dict[str, Any]:  # Any: the fields' types differ
    return {
        "names": tuple(name for report in reports for name in report.names),
        "unreadable": tuple(image for report in reports for image in report.unreadable),
        "seconds": sum(report.seconds for report in reports),
    }


_POOLED: dict[Task, Callable[[Any], AnyReport]] = {  # Any: reports of the task
    "classify": _classification,
    "detect": _detection,
    "segment": _segmentation,
}

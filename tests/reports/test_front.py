"""The plot of a benchmark: the Pareto front, and names that do not cover each other."""

from __future__ import annotations

import numpy as np
import pytest

from mobilenets.reports.front import Point, front, pareto

POINTS = [
    Point("small", "onnx", 2.0, 0.60),
    Point("same but slower", "tflite", 3.0, 0.60),
    Point("worse and slower", "tflite", 5.0, 0.55),
    Point("large", "onnx", 8.0, 0.75, (7.0, 9.0), (0.7, 0.8)),
    Point("twin of large", "onnx", 8.1, 0.75),
]


def test_the_front_is_what_no_other_point_beats_in_both_figures() -> None:
    assert [point.name for point in pareto(POINTS, higher_is_better=True)] == ["small", "large"]
    assert [point.name for point in pareto(POINTS, higher_is_better=False)] == ["small", "worse and slower"]


def test_the_plot_draws_every_point_and_names_those_that_have_room() -> None:
    pytest.importorskip("matplotlib")
    axes = front(POINTS, x="latency, ms", y="top1", higher_is_better=True, shares=True).axes[0]
    drawn = {(float(x), float(y)) for line in axes.lines for x, y in np.asarray(line.get_xydata(), float)}
    assert {(point.x, point.y) for point in POINTS} <= drawn
    assert {text.get_text() for text in axes.texts} == {"small", "worse and slower", "large"}
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Pareto front", "onnx", "tflite"]


def test_one_point_is_a_plot() -> None:
    pytest.importorskip("matplotlib")
    axes = front(POINTS[:1], x="latency, ms", y="size, MB", higher_is_better=False).axes[0]
    assert [text.get_text() for text in axes.texts] == ["small"]
    assert axes.get_ylim()[0] == 0


def test_a_point_that_beats_all_others_has_no_line() -> None:
    pytest.importorskip("matplotlib")
    points = (Point("best", "search", 1, 0.9), Point("worse", "ladder", 2, 0.8))
    legend = front(points, x="latency, ms", y="top1", higher_is_better=True, shares=True).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["search", "ladder"]

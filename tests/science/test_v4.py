"""V4's roofline, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.analysis.layers import Layer, LayerGraph
from mobilenets.science.entry import Asked
from mobilenets.science.v4.roofline import RIDGE_POINTS, Roof, claims, cost, intensity, measured_roof, moved

LAYER = Layer("x", "conv", (0,), 1, params=100, macs=6000)
GRAPH = LayerGraph((LAYER,), ((1, 10, 2, 2), (1, 15, 2, 2)), (1,))  # 40 values in, 60 out


def test_a_layer_moves_its_weights_its_input_and_its_output() -> None:
    assert moved(GRAPH, LAYER, 4) == 4 * (100 + 40 + 60)
    assert intensity(GRAPH, LAYER, 1) == 6000 / 200


def test_the_slower_of_processor_and_memory_sets_the_time() -> None:
    assert Roof(6000, 1e9).seconds(GRAPH) == 1
    assert Roof(1e9, 400).seconds(GRAPH) == 2
    assert Roof(6000, 300).ridge_point == 20


def test_cost_is_the_macs_below_the_intensity_and_grows_above_it() -> None:
    assert cost(GRAPH, 0) == cost(GRAPH, 30) == 6000
    assert cost(GRAPH, 60) == 12000


def test_this_machine_has_a_roof(tmp_path: Path) -> None:
    roof = measured_roof(Asked(tmp_path, seconds=0.05))
    assert 1e8 < roof.macs_per_s < 1e12
    assert 1e8 < roof.bytes_per_s < 1e12
    assert roof.ridge_point == pytest.approx(roof.macs_per_s / roof.bytes_per_s)


def test_a_network_is_held_against_those_that_are_as_accurate_and_else_against_the_best_earlier_one() -> None:
    """V4, Table 6: MNv2 has 73.4%, MNv1 74.0, MNv4-Conv-S 73.8, MNv4-Conv-M 79.9."""
    ones = [1.0] * len(RIDGE_POINTS)
    halved = [0.5] + [2.0] * (len(RIDGE_POINTS) - 1)
    sweeps = {"MNv2": [0.1] * len(RIDGE_POINTS), "MNv1": ones, "MNv4-Conv-S": halved, "MNv4-Conv-M": halved}
    small, medium = claims(sweeps)
    assert small == "At 1 of 41 ridge points, MNv4-Conv-S costs less than every earlier MobileNet that is as accurate."
    assert medium == "At 1 of 41 ridge points, MNv4-Conv-M costs less than MNv1, the most accurate earlier MobileNet."

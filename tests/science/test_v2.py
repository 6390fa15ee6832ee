"""V2's figures, against the paper's lemmas and hand calculations."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from mobilenets.errors import DataError
from mobilenets.model import create
from mobilenets.science.entry import Asked
from mobilenets.science.v2 import activations, arenas, lemma, spiral
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv


def test_relu_in_two_dimensions_loses_all_but_one_quadrant() -> None:
    """With T the identity, only points whose two coordinates are positive come back."""
    points = spiral.spiral()
    assert spiral.lost(points, np.eye(2)) == pytest.approx(1 - np.mean((points > 0).all(axis=1)))
    assert np.allclose(spiral.projected_back(points, np.eye(2)), np.maximum(points, 0))


def test_nothing_is_lost_where_every_direction_comes_with_its_opposite() -> None:
    """ReLU(x) - ReLU(-x) = x, so two opposite pairs of rows keep a point of the plane."""
    both = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    points = spiral.spiral()
    assert spiral.lost(points, both) == 0
    assert spiral.unexplained(points, both) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("n", "chance"), [(2, 3 / 4), (3, 1 / 2), (5, 6 / 32)])
def test_the_chance_to_lose_a_point_is_that_of_at_most_one_head(n: int, chance: float) -> None:
    assert spiral.expected(n) == chance
    points = spiral.spiral()
    drawn = [spiral.lost(points, spiral.embedding(n, seed)) for seed in range(400)]
    assert np.mean(drawn) == pytest.approx(chance, abs=float(4 * np.std(drawn) / 20))


@pytest.mark.parametrize(
    ("b", "x", "one_solution"),
    [
        ([[1.0, 0], [0, 1]], [1.0, 1], True),  # both rows positive: x is y
        ([[1.0, 0], [0, 1]], [1.0, -1], False),  # the second coordinate may be any number below 0
        ([[1.0, 0], [2, 0], [0, -1]], [1.0, 1], False),  # two positive rows, but not independent
        ([[1.0, 0], [1, 1], [0, -1]], [1.0, 1], True),
    ],
)
def test_relu_can_be_undone_where_enough_independent_rows_are_positive(
    b: list[list[float]], x: list[float], one_solution: bool
) -> None:
    assert lemma.invertible(np.array(b), np.array(x)) is one_solution
    assert lemma.has_second_solution(np.array(b), np.array(x)) is not one_solution


def test_the_chance_of_one_solution_is_that_of_enough_heads() -> None:
    assert lemma.chance(4, 4) == 1 / 16
    assert lemma.chance(5, 4) == 6 / 32


def test_positive_channels_are_counted_behind_the_expansion() -> None:
    """With all weights 1 and no norm's shift, a bright image makes every channel positive and a dark one none."""
    spec = BackboneSpec("tiny", (Conv(4, kernel=3), Bottleneck(24, 4)))
    model = create(ModelSpec(spec, ("a", "b"), InputContract(size=8))).eval()
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.ones_(part.weight)
    [layer] = activations.positive(model, np.ones((2, 3, 8, 8), np.float32))
    assert (layer.channels, layer.least, layer.mean, layer.most) == (24, 1.0, 1.0, 1.0)
    [layer] = activations.positive(model, -np.ones((2, 3, 8, 8), np.float32))
    assert layer.most == 0.0


@pytest.mark.parametrize("make", [lambda folder: folder / "missing", lambda folder: folder])
def test_a_folder_without_photos_is_named(make: Callable[[Path], Path], tmp_path: Path) -> None:
    place = make(tmp_path)
    with pytest.raises(DataError, match="holds no images" if place.exists() else "is not a folder"):
        activations.photos(place, InputContract(), Asked(tmp_path))


def test_nothing_lost_twice_is_not_called_less(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (n, 0.1, lost, lost, lost, 0.0, 0.0, 0.0, 3) for n, lost in zip(spiral.DIMENSIONS, (0.7, 0.5, 0.2, 0, 0), strict=True)
    ]
    monkeypatch.setattr(spiral, "measured", lambda dimensions, asked: rows)
    assert "From each n to the next, as much or less is lost." in spiral.figure_1(Asked(Path())).findings[0]


@pytest.mark.slow
def test_the_guide_of_the_engine_has_the_memory_that_is_drawn(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "concepts" / "native_engine.md").read_text()
    printed = re.findall(
        r"^\| (?:V|SSDLite|DeepLab|LR-ASPP)\S*.* \| (\d+) \| ([\d.]+) \| ([\d.]+) \| [a-z][^|]* \|$", guide, re.MULTILINE
    )
    found = [
        (str(size), f"{float(layers or 0) / 1e6:.2f}", f"{float(rows or 0) / 1e6:.2f}")
        for _, size, layers, rows, _ in arenas.arenas(Asked(tmp_path)).rows
    ]
    assert found == printed

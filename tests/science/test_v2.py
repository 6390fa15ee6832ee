"""V2's figures, against the paper's lemmas and hand calculations."""

from __future__ import annotations

import numpy as np
import pytest

from mobilenets.science.v2 import spiral


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

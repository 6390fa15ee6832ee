"""Rounding one weight after the other, against rounding each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenets.deploy.rounding import compensated, nearest

MOST = 7
seeds = st.integers(0, 2**32 - 1)


def _weights(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    drawn = np.random.default_rng(seed)
    reals = drawn.normal(size=(2, 3, 12))
    return reals, np.abs(reals).max(2) / MOST


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_without_correlation_each_weight_is_rounded_by_itself(seed: int) -> None:
    reals, scales = _weights(seed)
    ones = np.ones_like(reals)
    variance = np.random.default_rng(seed).uniform(0.5, 2, size=(2, 12))
    covariance = variance[:, :, None] * np.eye(12)
    made = compensated(reals, scales, ones, covariance, MOST)
    assert np.array_equal(made, nearest(reals, scales[:, :, None], ones, MOST))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_integers_are_multiples_of_their_factor_within_bounds(seed: int) -> None:
    reals, scales = _weights(seed)
    factors = np.random.default_rng(seed).integers(1, 4, size=reals.shape).astype(float)
    made = compensated(reals, scales, factors, np.ones((2, 12, 12)) + np.eye(12), MOST)
    multiples = made / factors
    assert np.array_equal(multiples, np.rint(multiples))
    assert np.abs(multiples).max() <= MOST


@pytest.mark.parametrize("seed", range(5))
def test_correlated_inputs_lose_less(seed: int) -> None:
    reals, scales = _weights(seed)
    ones = np.ones_like(reals)
    inputs = np.random.default_rng(seed).normal(size=(200, 2, 3)) @ np.random.default_rng(seed + 1).normal(size=(3, 12))
    covariance = np.einsum("nga,ngb->gab", inputs, inputs) / 200 + 1e-3 * np.eye(12)

    def lost(integers: NDArray[np.float64]) -> float:
        off = integers * scales[:, :, None] - reals
        return float(np.einsum("gok,gkl,gol->", off, covariance, off))

    each = nearest(reals, scales[:, :, None], ones, MOST)
    assert lost(compensated(reals, scales, ones, covariance, MOST)) < 0.7 * lost(each)


@pytest.mark.parametrize("length", [5, 32, 75])
def test_the_weights_that_are_left_take_over_what_is_best(length: int) -> None:
    drawn = np.random.default_rng(length)
    reals = drawn.normal(size=(1, 4, length))
    scales = np.abs(reals).max(2) / MOST
    inputs = drawn.normal(size=(200, length)) @ drawn.normal(size=(length, length)) * drawn.uniform(0.5, 2, length)
    covariance = inputs.T @ inputs / 200 + 0.1 * np.eye(length)
    made = compensated(reals, scales, np.ones_like(reals), covariance[None], MOST)
    left, expected = reals[0].copy(), np.zeros_like(reals[0])
    order = list(np.argsort(-np.diagonal(covariance)))
    for i, k in enumerate(order):  # least squares over the weights that are not rounded yet
        expected[:, k] = np.clip(np.rint(left[:, k] / scales[0]), -MOST, MOST)
        rest = order[i + 1 :]
        shares = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, k])
        left[:, rest] += np.outer(left[:, k] - expected[:, k] * scales[0], shares)
    np.testing.assert_array_equal(made[0], expected)

"""Sums of thousands of numbers are fitted in parts: with little memory, and better than by rounding each weight alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import MakeGraph

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.gather import moments
from mobilenets.deploy.quantize.parts import Parts
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import Value, decibels
from mobilenets.deploy.quantize.weights import Moments, quantized

Numbers = NDArray[np.float32]
READ = Quantization((0.02,), 0)
CONV = op.Conv(name="conv", inputs=(INPUT,), output="out", weight="w", bias="b", padding=(1, 1, 1, 1))
LONG = 2053  # a prime number


@pytest.mark.parametrize("shape", [(5, 2048), (5, LONG), (5, 320, 3, 3), (5, 643, 3, 3), (5, 1280, 3, 3)])
def test_parts_hold_every_number_of_a_sum(shape: tuple[int, ...]) -> None:
    parts = Parts.of(shape)
    weight = np.arange(1, np.prod(shape) + 1).reshape(shape)
    apart = parts.apart(weight.reshape(5, -1, 1))
    assert apart.shape == (5, parts.count, parts.length, 1)
    assert parts.count * parts.length < 1.01 * np.prod(shape[1:])
    np.testing.assert_array_equal(np.sort(apart[apart > 0]), weight.ravel())
    np.testing.assert_array_equal(parts.joined(apart[..., 0]), weight.reshape(5, -1))
    for one in apart[0, :, :, 0]:  # a part is of one place of the window, unless the sum is fitted whole
        places = (one[one > 0] - 1) % np.prod(shape[2:], dtype=int)
        assert parts.count == 1 or len(set(places.tolist())) == 1


def _correlated(random: np.random.Generator, length: int, places: int) -> Numbers:
    """Numbers of a sum, K n, of which neighbors are much alike."""
    sources = random.normal(size=(length // 16 + 1, places))
    mixed = np.repeat(sources, 16, 0)[:length] + 0.2 * random.normal(size=(length, places)) + 1
    return mixed.astype(np.float32)


def _fitted(weight: Numbers, bias: Numbers, read: Numbers, meant: Numbers) -> tuple[Numbers, Numbers]:
    """The reals of a layer's integers and its bias, fitted on places of two halves, K n."""
    parts = Parts.of(weight.shape)
    halves = (Moments(parts.count, parts.length), Moments(parts.count, parts.length))
    for i in range(2):
        halves[i].add(*(parts.apart(x[None, :, i::2])[0] for x in (read, meant)))
    layer = quantized(weight, bias, halves, read=READ)
    reals = layer.integers * np.asarray(layer.quantization.scales)[:, None]
    return reals.astype(np.float32), layer.bias.astype(np.float32)


def test_the_parts_of_a_long_sum_make_up_for_their_roundings() -> None:
    random = np.random.default_rng(0)
    read = _correlated(random, LONG, 6000)
    weight = random.normal(size=(4, LONG)).astype(np.float32)
    fitted, _ = _fitted(weight, np.zeros(4, np.float32), read[:, :4000], read[:, :4000])
    scales = np.abs(weight).max(1, keepdims=True) / 127
    nearest = np.rint(weight / scales) * scales
    ours, theirs = (np.var((reals - weight) @ read[:, 4000:], axis=1).sum() for reals in (fitted, nearest))
    assert ours < 0.6 * theirs


def test_the_means_of_a_long_sum_are_corrected_for_what_is_read() -> None:
    random = np.random.default_rng(1)
    meant = _correlated(random, LONG, 3000)
    read = meant + np.float32(0.3) + 0.1 * random.normal(size=meant.shape).astype(np.float32)
    weight, bias = random.normal(size=(3, LONG)).astype(np.float32), random.normal(size=3).astype(np.float32)
    reals, shifted = _fitted(weight, bias, read, meant)
    np.testing.assert_allclose((reals @ read).mean(1) + shifted, (weight @ meant).mean(1) + bias, atol=2e-2)


def test_a_layer_below_the_limit_is_fitted_whole() -> None:
    random = np.random.default_rng(2)
    maps = random.normal(size=(2, 227, 5, 5)).astype(np.float32)  # 2,043 numbers a sum
    first, _ = moments(CONV, (4, 227, 3, 3), Value(maps, maps), np.ones(len(maps)))
    assert (first.groups, first.length) == (1, 2043)
    around = np.pad(maps[0], ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    seen = np.array([around[:, y : y + 3, x : x + 3].ravel() for y in range(5) for x in range(5)])
    np.testing.assert_allclose(first.covariance[0], np.cov(seen, rowvar=False, bias=True), atol=1e-9)


def test_a_part_reads_channels_at_one_place_of_the_window() -> None:
    random = np.random.default_rng(3)
    maps = random.normal(size=(1, 300, 4, 4)).astype(np.float32)  # 2,700 numbers a sum
    first, _ = moments(CONV, (4, 300, 3, 3), Value(maps, maps), np.ones(len(maps)))
    around = np.pad(maps[0], ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    expected = [around[:, y : y + 4, x : x + 4].mean((1, 2)) for y in range(3) for x in range(3)]
    np.testing.assert_allclose(first.read, expected, atol=1e-6)


def test_a_long_sum_takes_a_fraction_of_the_memory_of_its_second_moments() -> None:
    random = np.random.default_rng(4)
    maps = random.normal(size=(2, 320, 4, 4)).astype(np.float32)  # 2,880 numbers a sum
    weight = random.normal(size=(8, 320, 3, 3)).astype(np.float32)
    tracemalloc.start()
    try:
        quantized(weight, np.zeros(8, np.float32), moments(CONV, weight.shape, Value(maps, maps), np.ones(2)), read=READ)
        kept = 4 * 2880**2 * 8  # of the float and the quantized network, for both halves, before any fit
        assert tracemalloc.get_traced_memory()[1] < kept / 3
    finally:
        tracemalloc.stop()


def test_a_convolution_with_long_sums_is_quantized(make_graph: MakeGraph) -> None:
    random = np.random.default_rng(5)
    tensors = {"w": random.normal(size=(4, 229, 3, 3)).astype(np.float32), "b": np.ones(4, np.float32)}  # 2,061 numbers a sum
    graph = make_graph((CONV,), tensors, channels=229)
    x = random.normal(size=(8, 229, 4, 4)).astype(np.float32)
    made = quantize(graph, x).graph
    assert decibels(reference.run(graph, x)["out"], reference.run(made, x)["out"]) > 25

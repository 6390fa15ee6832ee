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
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import Value, decibels
from mobilenets.deploy.quantize.weights import Moments, parts, quantized

Numbers = NDArray[np.float32]
READ = Quantization((0.02,), 0)
CONV = op.Conv(name="conv", inputs=(INPUT,), output="out", weight="w", bias="b", padding=(1, 1, 1, 1))
LONG = 2053  # a prime number


@pytest.mark.parametrize("length", [1, 9, 1280, 2048, LONG, 2880, 11520])
def test_parts_hold_every_number_of_a_sum(length: int) -> None:
    count, each = parts(length)
    assert 0 <= count * each - length < count
    assert (count == 1) == (length <= 2048)
    assert each <= 2048


def _correlated(random: np.random.Generator, length: int, places: int) -> Numbers:
    """Numbers of a sum, K n, of which neighbors are much alike."""
    sources = random.normal(size=(length // 16 + 1, places))
    mixed = np.repeat(sources, 16, 0)[:length] + 0.2 * random.normal(size=(length, places)) + 1
    return mixed.astype(np.float32)


def _fitted(weight: Numbers, bias: Numbers, read: Numbers, meant: Numbers) -> tuple[Numbers, Numbers]:
    """The reals of a layer's integers and its bias, fitted on places of two halves, K n."""
    count, each = parts(len(read))
    halves = (Moments(count, each), Moments(count, each))
    for i in range(2):
        ended = (np.pad(x[:, i::2], ((0, count * each - len(x)), (0, 0))) for x in (read, meant))
        halves[i].add(*(x.reshape(count, each, -1) for x in ended))
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
    first, _ = moments(CONV, (4, 227, 3, 3), Value(maps, maps))
    assert (first.groups, first.length) == (1, 2043)
    around = np.pad(maps[0], ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    seen = np.array([around[:, y : y + 3, x : x + 3].ravel() for y in range(5) for x in range(5)])
    np.testing.assert_allclose(first.covariance[0], np.cov(seen, rowvar=False, bias=True), atol=1e-9)


def test_a_part_reads_its_own_share_of_the_windows() -> None:
    random = np.random.default_rng(3)
    maps = random.normal(size=(1, 300, 4, 4)).astype(np.float32)  # 2,700 numbers a sum
    first, _ = moments(CONV, (4, 300, 3, 3), Value(maps, maps))
    around = np.pad(maps[0], ((0, 0), (1, 1), (1, 1))).astype(np.float64)
    seen = np.array([around[:, y : y + 3, x : x + 3].ravel() for y in range(4) for x in range(4)])
    np.testing.assert_allclose(first.read.ravel()[:2700], seen.mean(0), atol=1e-6)
    assert not first.read.ravel()[2700:].any()


def test_a_long_sum_takes_less_memory_than_its_second_moments() -> None:
    random = np.random.default_rng(4)
    maps = random.normal(size=(2, 640, 6, 6)).astype(np.float32)  # 5,760 numbers a sum
    weight = random.normal(size=(8, 5760)).astype(np.float32)
    tracemalloc.start()
    try:
        quantized(weight, np.zeros(8, np.float32), moments(CONV, (8, 640, 3, 3), Value(maps, maps)), read=READ)
        assert tracemalloc.get_traced_memory()[1] < 5760**2 * 8
    finally:
        tracemalloc.stop()


def test_a_convolution_with_long_sums_is_quantized(make_graph: MakeGraph) -> None:
    random = np.random.default_rng(5)
    tensors = {"w": random.normal(size=(4, 229, 3, 3)).astype(np.float32), "b": np.ones(4, np.float32)}  # 2,061 numbers a sum
    graph = make_graph((CONV,), tensors, channels=229)
    x = random.normal(size=(8, 229, 4, 4)).astype(np.float32)
    made = quantize(graph, x).graph
    assert decibels(reference.run(graph, x)["out"], reference.run(made, x)["out"]) > 25

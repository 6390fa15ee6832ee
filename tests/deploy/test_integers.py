"""Fixed-point factors and rounding, by hand; and what a graph of integers may not be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.quantized import CASES, graph_of

from mobilenets.deploy import operators as op
from mobilenets.deploy.file import load, save
from mobilenets.deploy.graph import INPUT
from mobilenets.deploy.integers import dequantize, factor, quantize, quantize_bias, scaled
from mobilenets.deploy.quantization import SHARE, Quantization
from mobilenets.errors import GraphError


def test_a_factor_is_31_bits_and_a_power_of_two() -> None:
    by = factor([0.75, 6.0, 2.0**-40, 1 - 2.0**-40])
    assert by.mantissas.tolist() == [3 << 29, 3 << 29, 0, 1 << 30]
    assert by.shifts.tolist() == [0, 3, 0, 1]  # 0.75 = 0.75 * 2^0, 6 = 0.75 * 2^3; too small; rounded up to 0.5 * 2^1


@pytest.mark.parametrize(
    ("number", "real", "product"),
    [
        (5, 0.5, 3),  # 2.5, a half in the first rounding goes up
        (-5, 0.5, -2),
        (10, 0.25, 3),  # 5 after the first rounding; a half in the second goes away from zero
        (-10, 0.25, -3),
        (7, 1.5, 11),  # 10.5
        (1000, 2.0**-40, 0),
        (2**31 - 1, 2.0, 2**30),  # 0.5 of what was shifted left by 2, and stays in 32 bits: far beyond 8 bits
    ],
)
def test_products_are_rounded_twice(number: int, real: float, product: int) -> None:
    assert scaled(np.asarray([number]), factor(real)).tolist() == [product]


def test_real_numbers_are_rounded_away_from_zero_and_cut_to_8_bits() -> None:
    numbers = np.array([0.25, -0.25, 0.24, 1e30, -1e30, 63.0], np.float32)
    quantization = Quantization((0.5,), 3)
    assert quantize(numbers, quantization).tolist() == [4, 2, 3, 127, -128, 127]  # 0.25 / 0.5 is a half
    assert dequantize(np.array([4, 2, -128]), quantization).tolist() == [0.5, -0.5, -65.5]


def test_weights_have_a_scale_for_each_output_channel() -> None:
    weight = np.array([[1.0, -2.0], [10.0, 5.0]], np.float32)
    scales = Quantization((2 / 127, 10 / 127))
    assert quantize(weight, scales).tolist() == [[64, -127], [127, 64]]  # 63.5 is a half
    assert quantize_bias(np.array([1.0, -1e12]), np.array([0.25, 1.0])).tolist() == [4, -(2**31)]


@pytest.mark.parametrize(
    ("scales", "zero_point", "problem"),
    [
        ((0.0,), 0, "a scale is 0, but"),
        ((-1.0,), 0, "a scale is -1"),
        ((float("nan"),), 0, "a scale is nan"),
        ((1e300,), 0, "a scale is inf"),
        ((1e-60,), 0, "a scale is 0"),
        ((), 0, "has no scale"),
        ((1.0,), 128, "the zero point is 128"),
    ],
)
def test_scales_are_positive_and_zero_points_are_8_bits(scales: tuple[float, ...], zero_point: int, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        Quantization(scales, zero_point)


ONE, OTHER = Quantization((0.5,), 1), Quantization((0.25,), 1)
WEIGHTS: dict[str, NDArray[Any]] = {"w": np.ones((2, 5, 1, 1), np.int8), "b": np.ones(2, np.int32)}


def conv(**fields: Any) -> op.Conv:
    return op.Conv(name="c", inputs=(INPUT,), output="c", weight="w", bias="b", **fields)


@pytest.mark.parametrize(
    ("operator", "quantization", "tensors", "problem"),
    [
        (conv(), {INPUT: ONE, "c": ONE, "w": ONE}, WEIGHTS, "'w' has 1 scales and the zero point 1; it must have 1 or 2"),
        (conv(), {INPUT: ONE, "c": ONE, "w": Quantization((1, 1, 1))}, WEIGHTS, "'w' has 3 scales"),
        (conv(), {INPUT: ONE, "c": ONE}, WEIGHTS, "'c' reads integers, but its weights are not of that kind"),
        (conv(), {INPUT: ONE, "w": SHARE, "c": ONE}, {k: v * 1.0 for k, v in WEIGHTS.items()}, "has weights in float64"),
        (conv(), {"c": ONE, "w": Quantization((1,))}, WEIGHTS, "'c' mixes integers and floats"),
        (
            conv(activation="hard_swish"),
            {INPUT: ONE, "c": ONE, "w": Quantization((1,))},
            WEIGHTS,
            "needs an operator of its own",
        ),
        (op.Pool(name="c", inputs=(INPUT,), output="c", kernel=(2, 2)), {INPUT: ONE, "c": OTHER}, {}, "keeps the scale"),
        (op.Concat(name="c", inputs=(INPUT, INPUT), output="c"), {INPUT: ONE, "c": OTHER}, {}, "keeps the scale"),
        (op.Activation(name="c", inputs=(INPUT,), output="c", kind="sigmoid"), {INPUT: ONE, "c": ONE}, {}, "from 0 to 1"),
        (op.Quantize(name="c", inputs=(INPUT,), output="c"), {INPUT: ONE}, {}, "'c' has no quantization"),
        (op.Dequantize(name="c", inputs=(INPUT,), output="c"), {"c": ONE}, {}, "must read integers and make floats"),
        (op.ArgMax(name="c", inputs=(INPUT,), output="c"), {INPUT: ONE, "c": ONE}, {}, "which have no quantization"),
        (op.Add(name="c", inputs=(INPUT, INPUT), output="c"), {INPUT: ONE, "c": ONE, "x": ONE}, {}, "'x', which is no value"),
        (op.Add(name="c", inputs=(INPUT, INPUT), output="c"), {INPUT: ONE, "c": Quantization((1, 2))}, {}, "has 2 scales"),
    ],
)
def test_integers_that_no_runtime_could_compute_are_refused(
    operator: op.Operator, quantization: Mapping[str, Quantization], tensors: Mapping[str, NDArray[Any]], problem: str
) -> None:
    with pytest.raises(GraphError, match=problem):
        graph_of([operator], quantization, tensors)


def test_a_quantized_graph_is_loaded_as_it_was(tmp_path: Path) -> None:
    graph = CASES["conv"].make(np.random.default_rng(3))
    save(graph, tmp_path / "graph.safetensors")
    again = load(tmp_path / "graph.safetensors")
    assert again.quantization == graph.quantization
    assert again.operators == graph.operators
    assert {name: tensor.dtype for name, tensor in again.tensors.items()} == {"w": np.dtype("int8"), "b": np.dtype("int32")}
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in graph.tensors.items())

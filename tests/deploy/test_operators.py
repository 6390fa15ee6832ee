"""Each operator by itself, in floats, in every runtime, against the reference executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import MakeGraph
from tests.deploy.quantized import CASES as INT8_CASES
from tests.deploy.runtimes import RUNTIMES, Array, Outputs

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT

C, H, W = 6, 6, 5
TENSORS = {
    "w": np.random.default_rng(1).normal(size=(4, C, 3, 3)).astype(np.float32),
    "dw": np.random.default_rng(2).normal(size=(C, 1, 5, 5)).astype(np.float32),
    "m": np.random.default_rng(3).normal(size=(7, C)).astype(np.float32),
    "b4": np.array([9, -9, 0, 1], np.float32),
    "b6": np.array([9, -9, 0, 1, 2, -3], np.float32),
    "b7": np.array([9, -9, 0, 1, 2, -3, 4], np.float32),
    "anchors": np.random.default_rng(4).uniform((0, 0, 20, 30), (20, 30, 50, 60), (H * W, 4)).astype(np.float32),
}
MARGINS = (2, 2, 2, 2)
POOL = op.Pool(name="pool", inputs=(INPUT,), output="pool", kernel=(H, W))
ROW = op.Flatten(name="row", inputs=("pool",), output="row")
A = op.Rows(name="a", inputs=(INPUT,), output="a", columns=C)
B = op.Rows(name="b", inputs=(INPUT,), output="b", columns=C)
MAP = op.Places(name="map", inputs=("a",), output="map", size=(C, 1))
WIDE = op.Rows(name="wide", inputs=("map",), output="wide", columns=H * W)


# fmt: off
CASES: dict[str, Sequence[op.Operator]] = {
    "conv":                [op.Conv(name="out", inputs=(INPUT,), output="out", weight="w", bias="b4", padding=(1, 1, 1, 1))],
    "conv, stride 2":      [op.Conv(name="out", inputs=(INPUT,), output="out", weight="w", bias="b4", stride=(2, 2),
                                    padding=(0, 1, 0, 1), activation="hard_swish")],
    "depthwise":           [op.Depthwise(name="out", inputs=(INPUT,), output="out", weight="dw", bias="b6", padding=MARGINS,
                                         activation="relu6")],
    "dense":               [POOL, ROW, op.Dense(name="out", inputs=("row",), output="out", weight="m", bias="b7",
                                                activation="hard_swish")],
    "add":                 [op.Add(name="out", inputs=(INPUT, INPUT), output="out", activation="relu")],
    "multiply":            [op.Multiply(name="out", inputs=(INPUT, INPUT), output="out")],
    "multiply by a gate":  [POOL, op.Multiply(name="out", inputs=(INPUT, "pool"), output="out")],
    "pool to one place":   [op.Pool(name="out", inputs=(INPUT,), output="out", kernel=(H, W))],
    "pool by a window":    [op.Pool(name="out", inputs=(INPUT,), output="out", kernel=(3, 2), stride=(1, 2))],
    "hard swish":          [op.Activation(name="out", inputs=(INPUT,), output="out", kind="hard_swish")],
    "hard sigmoid":        [op.Activation(name="out", inputs=(INPUT,), output="out", kind="hard_sigmoid")],
    "resize by centers":   [op.Resize(name="out", inputs=(INPUT,), output="out", size=(7, 11))],
    "resize by corners":   [op.Resize(name="out", inputs=(INPUT,), output="out", size=(7, 11), coordinates="align_corners")],
    "resize one place":    [POOL, op.Resize(name="out", inputs=("pool",), output="out", size=(3, 2))],
    "concat maps":         [op.Concat(name="out", inputs=(INPUT, INPUT), output="out")],
    "concat rows":         [A, B, op.Concat(name="out", inputs=("a", "b"), output="out")],
    "flatten":             [POOL, op.Flatten(name="out", inputs=("pool",), output="out")],
    "rows":                [op.Rows(name="out", inputs=(INPUT,), output="out", columns=2)],
    "places":              [A, op.Places(name="out", inputs=("a",), output="out", size=(W, H))],
    "matmul":              [A, MAP, WIDE, op.MatMul(name="out", inputs=("a", "wide"), output="out", factor=0.25)],
    "matmul, transposed":  [A, B, op.MatMul(name="out", inputs=("a", "b"), output="out", transposed=True, factor=3.0)],
    "softmax of rows":     [A, op.Softmax(name="out", inputs=("a",), output="out")],
    "softmax of a row":    [POOL, ROW, op.Softmax(name="out", inputs=("row",), output="out")],
    "argmax":              [op.ArgMax(name="out", inputs=(INPUT,), output="out")],
    "boxes":               [op.Conv(name="m", inputs=(INPUT,), output="m", weight="w", bias="b4", padding=(1, 1, 1, 1)),
                            op.Rows(name="o", inputs=("m",), output="o", columns=4),
                            op.Boxes(name="out", inputs=("o",), output="out", anchors="anchors", size=(60, 50),
                                     variances=(0.03, 0.03, 0.1, 0.1))],
}
# fmt: on


@pytest.mark.parametrize("run", RUNTIMES.values(), ids=RUNTIMES)
@pytest.mark.parametrize("operators", CASES.values(), ids=CASES)
def test_an_operator_is_the_same_in_every_runtime(
    make_graph: MakeGraph, operators: Sequence[op.Operator], run: Callable[..., Outputs]
) -> None:
    graph = make_graph(tuple(operators), TENSORS, height=H, width=W, channels=C, output="result")
    graph.check()
    x: NDArray[np.float32] = np.random.default_rng(0).normal(0, 4, (2, C, H, W)).astype(np.float32)  # beyond all knees
    expected: Array = reference.run(graph, x)["result"]
    values = run(graph, x)["result"]
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=2e-5, atol=2e-5)


def test_every_operator_is_tested_by_itself_in_floats_and_in_integers() -> None:
    floats = {type(operators[-1]) for operators in CASES.values()}
    integers = {type(case.make(np.random.default_rng(0)).operators[-1]) for case in INT8_CASES.values()}
    tails = {op.Boxes, op.Nms}  # in floats only; suppression is tested over its options in `exporters/test_onnx_nms.py`
    assert floats == set(op.KINDS.values()) - {op.Quantize, op.Dequantize, op.Nms}
    assert integers == set(op.KINDS.values()) - tails - {op.Flatten, op.Rows}  # parts of "dense" and "rows and places"

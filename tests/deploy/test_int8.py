"""The integer meaning of every operator: against LiteRT's reference kernels to the bit, and in every runtime within a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.deploy.conftest import SPECS, trained
from tests.deploy.min_max import quantized_by_min_max
from tests.deploy.quantized import CASES, EXACT_CASES, Case, integers_for
from tests.deploy.runtimes import RUNTIMES, Array, Outputs, by_litert_reference

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.integers import dequantize
from mobilenets.exporters.lower import lower
from mobilenets.model import create

SEEDS = range(6)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_integers_are_those_of_the_reference_kernels(case: Case) -> None:
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        graph = case.make(random)
        x = integers_for(graph, random)
        ours, theirs = reference.run(graph, x)["result"], by_litert_reference(graph, x)["result"]
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(np.float64) - theirs).max() <= case.steps


@pytest.mark.parametrize("run", RUNTIMES.values(), ids=RUNTIMES)
@pytest.mark.parametrize("case", EXACT_CASES.values(), ids=EXACT_CASES)
def test_integers_are_within_a_step_in_every_runtime(case: Case, run: Callable[[Graph, Array], Outputs]) -> None:
    for seed in SEEDS[:2]:
        random = np.random.default_rng(seed)
        graph = case.make(random)
        x = dequantize(integers_for(graph, random), graph.quantization[INPUT])
        graph = with_float_ends(graph)
        ours, theirs = reference.run(graph, x)["result"], run(graph, x)["result"]
        made = graph.quantization.get(graph.operators[-1].inputs[0])
        step = made.scale if made else 1
        assert np.abs(ours - theirs).max() <= step * case.runtime_steps * 1.001


@pytest.mark.parametrize("name", ["v1", "v2", "v4 conv small", "v3 small"])
def test_a_network_in_integers_is_that_of_the_reference_kernels(name: str) -> None:
    model = trained(create(SPECS[name]()))
    contract = model.spec.input
    x = np.random.default_rng(0).uniform(-1, 1, (3, contract.channels, *contract.shape)).astype(np.float32)
    floats = lower(model)
    graph = quantized_by_min_max(floats, x)
    ours, theirs = reference.run(graph, x)["logits"], by_litert_reference(graph, x)["logits"]
    if name == "v3 small":  # hard swish may differ by a step, and more after it
        assert np.abs(ours - theirs).max() <= 0.05 * np.abs(ours).max()
    else:
        np.testing.assert_array_equal(ours, theirs)
    expected = reference.run(floats, x)["logits"]
    assert np.linalg.norm(ours - expected) <= 0.5 * np.linalg.norm(expected)  # random weights leave little signal


def with_float_ends(graph: Graph) -> Graph:
    """The graph with a float input, and float outputs where its own are quantized."""
    start = op.Quantize(name="start", inputs=(INPUT,), output="stored")
    middle = [
        replace(operator, inputs=tuple("stored" if name == INPUT else name for name in operator.inputs))  # type: ignore[type-var]
        for operator in graph.operators
    ]
    quantization = {"stored" if name == INPUT else name: one for name, one in graph.quantization.items()}
    outputs, end = graph.outputs, []
    if graph.outputs["result"] in quantization:
        outputs, end = {"result": "real"}, [op.Dequantize(name="end", inputs=("out",), output="real")]
    ended = replace(graph, operators=(start, *middle, *end), quantization=quantization, outputs=outputs)
    ended.check()
    return ended

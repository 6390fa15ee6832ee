"""Hard swish and hard sigmoid on integers: no division, no float island, and the integers of the reference executor."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tests.deploy.conftest import trained
from tests.deploy.runtimes import RUNTIMES, by_litert_reference, by_onnxruntime, by_openvino

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.swish import fused, undivided
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

IMAGES = np.random.default_rng(0).normal(size=(6, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> Graph:
    """A stem, a block with squeeze-and-excite and a tail, all with hard swish, in integers; the weights are 7 bits."""
    rows = (
        Conv(8, 3, 2, activation="hard_swish"),
        Bottleneck(16, 8, stride=2, c_squeeze=8, activation="hard_swish"),
        Conv(16, activation="hard_swish"),
    )
    spec = ModelSpec(BackboneSpec("small", rows), ("cat", "dog"), InputContract(size=16, resize="stretch", crop=1.0))
    graph = quantize(lower(trained(create(spec))), IMAGES).graph
    tensors = {name: tensor // 2 for name, tensor in graph.tensors.items()}
    scales = {
        name: Quantization(tuple(2 * scale for scale in quantization.scales), quantization.zero_point)
        for name, quantization in graph.quantization.items()
        if name in tensors
    }
    return replace(graph, tensors=tensors, quantization={**graph.quantization, **scales})


def test_no_integer_changes_where_nothing_is_divided_by_6(network: Graph) -> None:
    relabeled, gates = undivided(network)
    assert len(gates) == 5  # four hard swishes and one gate of squeeze-and-excite
    for gate in gates:
        six, one = relabeled.quantization[gate], network.quantization[gate]
        assert six.scale == pytest.approx(6 * one.scale)
        assert six.zero_point == one.zero_point
    assert relabeled.tensors == network.tensors
    ours, theirs = reference.run(network, IMAGES)["logits"], by_litert_reference(network, IMAGES)["logits"]
    np.testing.assert_array_equal(ours, theirs)


def test_a_gate_is_one_addition_in_tflite(network: Graph) -> None:
    interpreter = Interpreter(model_content=to_tflite(network), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    counts = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    assert (counts["ADD"], counts["MUL"]) == (5, 5)


def test_a_gate_that_is_read_by_a_sum_is_divided(network: Graph) -> None:
    gate = next(operator for operator in network.operators if isinstance(operator, op.Activation))
    product = next(operator for operator in network.operators if gate.output in operator.inputs)
    added = op.Add(name="sum", inputs=(product.output, product.output), output="sum")
    operators = tuple(
        replace(operator, inputs=tuple("sum" if name == product.output else name for name in operator.inputs))  # type: ignore[type-var]
        for operator in network.operators
    )
    at = operators.index(product) + 1
    quantization = {**network.quantization, "sum": network.quantization[product.output]}
    graph = replace(network, operators=(*operators[:at], added, *operators[at:]), quantization=quantization)
    assert gate.output not in undivided(graph)[1]
    ours, theirs = reference.run(graph, IMAGES)["logits"], by_litert_reference(graph, IMAGES)["logits"]
    np.testing.assert_array_equal(ours, theirs)


def test_onnxruntime_computes_floats_only_at_the_ends(network: Graph, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(to_onnx(network).SerializeToString(), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (1, 1)
    assert not counts.keys() & {"HardSigmoid", "HardSwish", "Conv", "Add", "Mul", "Clip"}


@pytest.mark.parametrize("run", RUNTIMES)
def test_every_runtime_is_near_the_reference_executor(network: Graph, run: str) -> None:
    ours, theirs = reference.run(network, IMAGES)["logits"], RUNTIMES[run](network, IMAGES)["logits"]
    step = network.quantization[network.operators[-1].inputs[0]].scale
    assert np.abs(ours - theirs).max() <= 4 * step


def test_a_fused_swish_is_computed_in_floats_and_rounded_once(network: Graph) -> None:
    form = fused(network)
    assert sum(isinstance(operator, op.Activation) for operator in form.operators) == 1  # squeeze-and-excite keeps its gate
    assert len(network.operators) - len(form.operators) == 2 * 4
    expected = reference.run(network, IMAGES)["logits"]
    for run in (by_onnxruntime, by_openvino):
        assert decibels(expected, run(form, IMAGES)["logits"]) > 20

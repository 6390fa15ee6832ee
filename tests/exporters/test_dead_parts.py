"""Networks with dead branches and dead channels load in every runtime and give what the reference executor gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.conftest import trained
from tests.exporters.networks import LABELS

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.reach import LEAST_RATIO, within_reach
from mobilenets.exporters.compared import prepared_batches
from mobilenets.exporters.lower import lower
from mobilenets.exporters.quantized import export_quantized
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

_ROWS = (
    Conv(8, 3, 2, activation="hard_swish"),
    Bottleneck(16, 8, stride=2, c_squeeze=8, activation="hard_swish"),
    Bottleneck(32, 8, c_squeeze=8, activation="hard_swish"),
    Conv(24, activation="hard_swish"),
)
_LAST = "backbone.blocks.2."
Tensors = dict[str, NDArray[Any]]  # Any: floats


def _dead_reduction(operator: op.Weighted, tensors: Tensors) -> None:
    """Squeeze-and-excite reduces to nothing on every image."""
    if operator.activation == "relu":
        tensors[operator.bias] = np.full_like(tensors[operator.bias], -1e3)


def _dead_channels(operator: op.Weighted, tensors: Tensors) -> None:
    """Every third channel of every layer is 0."""
    if operator.name != "head.linear":
        for name in (operator.weight, operator.bias):
            tensors[name] = tensors[name].copy()
            tensors[name][::3] = 0


def _tiny_weights(operator: op.Weighted, tensors: Tensors) -> None:
    """Every third channel of every layer has weights of almost 0, and its bias."""
    if operator.name != "head.linear":
        tensors[operator.weight] = tensors[operator.weight].copy()
        tensors[operator.weight][::3] *= 1e-12


def _dead_shortcut(operator: op.Weighted, tensors: Tensors) -> None:
    """The block adds nothing to its shortcut."""
    if operator.name == f"{_LAST}project":
        tensors.update({name: 0 * tensors[name] for name in (operator.weight, operator.bias)})


def _dead_swish(operator: op.Weighted, tensors: Tensors) -> None:
    """All channels are so far below 0 that hard swish makes nothing of them."""
    if operator.name == f"{_LAST}depthwise":
        tensors[operator.bias] = 0 * tensors[operator.bias] - 50


KINDS = {
    "reduction": _dead_reduction,
    "channels": _dead_channels,
    "tiny weights": _tiny_weights,
    "shortcut": _dead_shortcut,
    "swish": _dead_swish,
}


@pytest.fixture(scope="module")
def network() -> Graph:
    return lower(trained(create(ModelSpec(BackboneSpec("tiny", _ROWS), LABELS, InputContract(size=48)))))


def _dead(network: Graph, kind: Callable[[op.Weighted, Tensors], None]) -> Graph:
    """The network with dead parts, in 8-bit integers."""
    tensors = dict(network.tensors)
    for operator in network.operators:
        if isinstance(operator, op.Weighted):
            kind(operator, tensors)
    graph = replace(network, tensors=tensors)
    images = np.concatenate(list(prepared_batches(graph.manifest.input, ())))
    made = quantize(graph, images).graph
    assert decibels(reference.run(graph, images)["logits"], reference.run(made, images)["logits"]) > 25
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_dead_parts_are_right_in_every_runtime(kind: str, network: Graph, tmp_path: Path) -> None:
    graph = _dead(network, KINDS[kind])
    for to in ("onnx", "openvino", "tflite"):
        parity = export_quantized(graph, tmp_path / to, to=to, steps=16)
        assert parity.fast_path is not None
        if to == "tflite":  # XNNPACK refuses no operator, and so no conversion interrupts it
            assert (parity.fast_path.share, parity.fast_path.pieces) == (1.0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_dead_parts_are_right_in_executorch(kind: str, network: Graph, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    parity = export_quantized(_dead(network, KINDS[kind]), tmp_path, to="executorch", steps=16)
    assert parity.fast_path is not None
    assert (parity.fast_path.share, parity.fast_path.pieces) == (1.0, 1)


def test_sums_read_no_scale_that_xnnpack_refuses(network: Graph) -> None:
    graph = _dead(network, _dead_shortcut)
    before, after = (_least_ratio(each) for each in (graph, within_reach(graph)))
    assert before < LEAST_RATIO <= after


def _least_ratio(graph: Graph) -> float:
    scales = graph.quantization
    sums = [operator for operator in graph.operators if isinstance(operator, op.Add)]
    return min(scales[name].scale / scales[operator.output].scale for operator in sums for name in operator.inputs)

"""Weights in 7 bits: within bounds, near what 8 bits compute, and right in kernels that add in 16 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.deploy.runtimes import by_onnxruntime, by_openvino
from tests.exporters.conftest import TINY, quantized

from mobilenets.deploy import reference
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.int8_rules import weight_bits
from mobilenets.deploy.narrow import narrowed
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.values import decibels
from mobilenets.exporters.compared import prepared_batches


@pytest.fixture(scope="module")
def wide() -> Graph:
    return quantized(TINY)


@pytest.fixture(scope="module")
def images(wide: Graph) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.concatenate(list(prepared_batches(wide.manifest.input, ())))


@pytest.fixture(scope="module")
def narrow(wide: Graph, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Graph:
    return narrowed(wide, images)


def test_every_weight_is_within_64_and_every_value_keeps_its_scale(wide: Graph, narrow: Graph) -> None:
    assert (weight_bits(wide), weight_bits(narrow)) == (8, 7)
    values = [name for name in wide.quantization if name not in wide.tensors]
    assert all(narrow.quantization[name] == wide.quantization[name] for name in values)


def test_fitted_weights_are_nearer_than_rounded_ones(
    wide: Graph, narrow: Graph, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    halves: dict[str, NDArray[Any]] = {
        name: np.rint(tensor.astype(np.float64) / 2).astype(tensor.dtype)
        if tensor.dtype == np.int8
        else tensor.astype(np.int32) // 2
        for name, tensor in wide.tensors.items()
    }
    twice = {
        name: Quantization(tuple(2 * scale for scale in quantization.scales), quantization.zero_point)
        for name, quantization in wide.quantization.items()
        if name in halves
    }
    rounded = replace(wide, tensors=halves, quantization={**wide.quantization, **twice})
    expected = reference.run(wide, images)["logits"]
    fitted_db, rounded_db = (decibels(expected, reference.run(graph, images)["logits"]) for graph in (narrow, rounded))
    assert fitted_db > rounded_db + 3


def test_kernels_that_add_in_16_bits_are_right_with_7(
    narrow: Graph, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    step = narrow.quantization[narrow.operators[-1].inputs[0]].scale
    expected = reference.run(narrow, images)["logits"]
    for run in (by_onnxruntime, by_openvino):
        assert np.abs(run(narrow, images)["logits"] - expected).max() <= 8 * step

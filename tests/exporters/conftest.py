"""Quantized networks of each task."""

from __future__ import annotations

import numpy as np
import pytest
from tests.cli.conftest import mobilenets, trained  # noqa: F401  # the command line in this process, and a run for it
from tests.deploy.conftest import trained as with_norms
from tests.exporters.networks import LABELS, SPECS

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.compared import prepared_batches
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv

_ROWS = (
    Conv(8, 3, 2, activation="hard_swish"),
    Bottleneck(16, 8, stride=2, c_squeeze=8, activation="hard_swish"),
    Bottleneck(32, 8, activation="relu6"),
    Conv(24, activation="hard_swish"),
)


TINY = ModelSpec(BackboneSpec("tiny", _ROWS), LABELS, InputContract(size=48))


def quantized(spec: ModelSpec) -> Graph:
    """A network in 8-bit integers."""
    images = np.concatenate(list(prepared_batches(spec.input, ())))
    return quantize(lower(with_norms(create(spec))), images).graph


@pytest.fixture(scope="session")
def classifier() -> Graph:
    """A classifier in 8-bit integers, with hard swish, squeeze-and-excite and a shortcut."""
    return quantized(TINY)


@pytest.fixture(scope="session")
def detector() -> Graph:
    """A detector in 8-bit integers."""
    return quantized(SPECS["detect"])


@pytest.fixture(scope="session")
def segmenter() -> Graph:
    """A segmenter in 8-bit integers."""
    return quantized(SPECS["segment"])

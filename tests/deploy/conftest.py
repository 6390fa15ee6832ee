"""Graphs that are small enough to check by hand, and lowered networks of every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import Operator
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, create
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import lraspp
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssd, ssdlite

LABELS = ("a", "b", "c")

MakeGraph = Callable[..., Graph]

SPECS: dict[str, Callable[[], ModelSpec]] = {
    "v1": lambda: ModelSpec(backbone("mobilenet_v1", width=0.25), LABELS, InputContract(size=32)),
    "v2": lambda: ModelSpec(backbone("mobilenet_v2", width=0.35), LABELS, InputContract(size=64)),
    "v2 grey, 72 x 40": lambda: ModelSpec(
        backbone("mobilenet_v2", width=0.1, in_channels=1),
        LABELS,
        InputContract(size=40, wide=72, channels=1, mean=(0.5,), std=(0.5,), resize="stretch", crop=1.0),
    ),
    "v3 large": lambda: ModelSpec(backbone("mobilenet_v3_large", width=0.35), LABELS, InputContract(size=64)),
    "v3 small": lambda: ModelSpec(backbone("mobilenet_v3_small", width=0.5), LABELS, InputContract(size=48)),
    "v4 conv small": lambda: ModelSpec(backbone("mobilenet_v4_conv_small", width=0.5), LABELS, InputContract(size=64)),
    "v4 hybrid": lambda: ModelSpec(backbone("mobilenet_v4_hybrid_medium", width=0.25), LABELS, InputContract(size=64)),
    "v2 resnet": lambda: ModelSpec(backbone("mobilenet_v2_resnet", width=0.1), LABELS, InputContract(size=32)),
    "v3 ssdlite": lambda: ssdlite(backbone("mobilenet_v3_large", width=0.35), LABELS, size=(96, 128)),
    "v1 ssd": lambda: ssd(backbone("mobilenet_v1", width=0.25), LABELS, size=(96, 96)),
    "v2 deeplab": lambda: deeplab(backbone("mobilenet_v2", width=0.35), LABELS, size=(64, 96), decoder="s4", filters=32),
    "v3 lraspp": lambda: lraspp(backbone("mobilenet_v3_large", width=0.35), LABELS, size=(64, 96)),
}
"""Every family and head, at sizes that are run in a moment."""


@pytest.fixture(scope="session", params=SPECS)
def network(request: pytest.FixtureRequest) -> Model:
    """A network whose norms are not those of a fresh one."""
    return trained(create(SPECS[request.param]()))


@pytest.fixture(scope="session")
def lowered(network: Model) -> Graph:
    """The graph of `network`."""
    return lower(network)


@pytest.fixture
def make_graph() -> MakeGraph:
    """Makes a graph of operators and weights; its input is one channel of a height and width."""

    def make(
        operators: tuple[Operator, ...],
        tensors: Mapping[str, NDArray[np.float32]] | None = None,
        *,
        height: int = 4,
        width: int = 4,
        channels: int = 1,
        output: str = "out",
    ) -> Graph:
        wide = 0 if width == height else width
        mean = (0.5,) * channels
        contract = InputContract(size=height, wide=wide, channels=channels, mean=mean, std=mean, resize="stretch", crop=1.0)
        return Graph(Manifest("tiny", LABELS, contract), operators, tensors or {}, {output: operators[-1].output})

    return make


def trained(model: Model) -> Model:
    """The model with norms as training leaves them: means, variances, factors and shifts of all sizes."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=draw)  # type: ignore[union-attr]  # norms of ours keep both
                module.running_var.uniform_(0.5, 1.5, generator=draw)  # type: ignore[union-attr]
                module.weight.uniform_(0.7, 1.3, generator=draw)
                module.bias.normal_(0, 0.1, generator=draw)
    return model.eval()

"""`QuantizedModel`: a float model that stays as it is, and beside it the network in 8-bit integers that learns from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenets.deploy.file import Structure
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.profile import profiled
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.quantize.prepare import WEIGHTED
from mobilenets.model import Model, rebuilt
from mobilenets.qat.network import Int8Network
from mobilenets.runtime.manifest import manifest_of
from mobilenets.specs.model import ModelSpec


class QuantizedModel(Model):
    """A model that computes what its int8 graph computes.

    `backbone` and `head` hold the float network that it was made from. They do not learn: they teach, and another training may
    begin with them.

    Args:
        spec: of the float network.
        graph: the same network in 8-bit integers, with float ends.
    """

    precision = "int8"

    def __init__(self, spec: ModelSpec, graph: Graph) -> None:
        super().__init__(spec)
        self.requires_grad_(requires_grad=False)
        self.int8 = Int8Network(graph)
        self.train(mode=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in their order; a head that only training uses is not among them."""
        return self.int8.outputs

    @property
    def learning(self) -> nn.Module:
        """The network in integers."""
        return self.int8

    def forward(self, x: Tensor) -> Any:  # Any: as `Model.forward`
        """What the int8 graph returns, as reals."""
        return self.int8(x)

    @torch.no_grad()
    def teach(self, x: Tensor) -> Any:  # Any: as `Model.forward`
        """What the float network returns."""
        return super().forward(x)

    def train(self, mode: bool = True) -> Self:
        """Training mode for the network in integers. The float network keeps its running statistics and drops nothing."""
        super().train(mode)
        self.backbone.eval()
        self.head.eval()
        return self

    def int8_graph(self) -> Graph | None:
        """The integers that it computes with."""
        manifest = manifest_of(self.spec, precision="int8")
        return profiled(replace(self.int8.graph(), manifest=manifest))

    def floats(self) -> Model:
        """The float network, as a model of its own in evaluation mode."""
        return rebuilt(self, self.spec).eval()

    def like(self, spec: ModelSpec) -> QuantizedModel:
        """A model of this kind with all weights, under a spec of the same shapes."""
        made = QuantizedModel(spec, self.int8.graph())
        made.load_state_dict(self.state_dict())
        return made


def unlearned(spec: ModelSpec, structure: Structure, weights: Mapping[str, Tensor]) -> Graph:
    """A graph of this structure whose weights have the shapes of a model's, and any values.

    Args:
        spec: of the model.
        structure: of its network in integers.
        weights: the state dict of the `QuantizedModel`.

    Raises:
        GraphError: the structure is no network.
        KeyError: a weight is missing.
    """
    quantization = {name: Quantization((1.0,), zero_point) for name, zero_point in structure.zero_points.items()}
    tensors: dict[str, NDArray[np.generic]] = {}
    for operator in structure.operators:
        if isinstance(operator, WEIGHTED):
            kinds = (np.int8, np.int32) if operator.weight in quantization else (np.float32, np.float32)
            for name, part, kind in zip((operator.weight, operator.bias), ("weight", "bias"), kinds, strict=True):
                tensors[name] = np.zeros(weights[f"int8.{operator.name}.{part}"].shape, kind)
    return Graph(manifest_of(spec, precision="int8"), structure.operators, tensors, structure.outputs, quantization)

"""`QuantizedModel`: a frozen float model as teacher, and the int8 network that is trained to match it."""

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
    """A model that computes the same as its int8 graph.

    `backbone` and `head` are those of the original float network. They are frozen: they serve as teacher, and another training
    may start from them.

    Args:
        spec: spec of the float network.
        graph: the same network in int8, with float input and outputs.
    """

    precision = "int8"

    def __init__(self, spec: ModelSpec, graph: Graph) -> None:
        super().__init__(spec)
        self.requires_grad_(requires_grad=False)
        self.int8 = Int8Network(graph)
        self.train(mode=False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of `forward`, in order, without heads that only training uses."""
        return self.int8.outputs

    @property
    def learning(self) -> nn.Module:
        """The int8 network."""
        return self.int8

    def forward(self, x: Tensor) -> Any:  # Any: as `Model.forward`
        """The outputs of the int8 graph, as reals."""
        return self.int8(x)

    @torch.no_grad()
    def teach(self, x: Tensor) -> Any:  # Any: as `Model.forward`
        """The outputs of the float network."""
        return super().forward(x)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the int8 network. The float network stays in evaluation mode: no batch norm updates, no dropout."""
        super().train(mode)
        self.backbone.eval()
        self.head.eval()
        return self

    def int8_graph(self) -> Graph | None:
        """The int8 graph with its current weights and scales."""
        manifest = manifest_of(self.spec, precision="int8")
        return profiled(replace(self.int8.graph(), manifest=manifest))

    def floats(self) -> Model:
        """The float network, as a model of its own in evaluation mode."""
        return rebuilt(self, self.spec).eval()

    def like(self, spec: ModelSpec) -> QuantizedModel:
        """A copy of the model with all weights, for another spec with the same shapes."""
        made = QuantizedModel(spec, self.int8.graph())
        made.load_state_dict(self.state_dict())
        return made


def unlearned(spec: ModelSpec, structure: Structure, weights: Mapping[str, Tensor]) -> Graph:
    """A graph with this structure whose weights have the shapes of a model's weights, and arbitrary values.

    Args:
        spec: spec of the model.
        structure: structure of its int8 graph.
        weights: the state dict of the `QuantizedModel`.

    Raises:
        GraphError: the structure is not a valid network.
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

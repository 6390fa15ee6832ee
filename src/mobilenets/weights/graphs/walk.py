"""The records of a pass over a graph: its layers, what each tensor means, and what happens to pixels before the first layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation
from mobilenets.weights.graphs.graph import Graph, Operator
from mobilenets.weights.heads import Ending

Step = Literal[
    "input",
    "output",
    "padded",
    "plus_3",
    "clamped",
    "gate",
    "six_swish",
    "pooled",
    "sum",
    "batched",
    "joined",
    "scores",
    "classes",
]
Pads = tuple[int, int]
MOST_WEIGHTS = 200_000_000
"""Weights that a file may have, over all its layers; the largest MobileNet has 40 million."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a tensor of the graph means.

    Args:
        step: how far from the layer's output: hard-swish and hard sigmoid may be spelled out in several operators.
        layer: index of the layer whose output it is, or was; -1 for the image.
        pads: rows added above and below by an operator of its own.
        dilation: of a map whose pixels were dealt out over a batch, side by side `dilation` apart.
        joined: the layers whose outputs stand side by side, in their order; the last of them is `layer`.
        scaling: index into `Walk.scalings` of a factor and an offset that the next layer must take in; -1 for none.
    """

    step: Step
    layer: int = -1
    pads: Pads = (0, 0)
    dilation: int = 1
    joined: tuple[int, ...] = ()
    scaling: int = -1


@dataclass(frozen=True, slots=True)
class Resize:
    """A layer's output made larger, bilinearly.

    Args:
        layer: index of the layer.
        align_corners: whether the centers of corner pixels stay on each other.
        half_pixel_centers: whether the edges of the map do.
    """

    layer: int
    align_corners: bool
    half_pixel_centers: bool


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm that the file keeps apart from its convolution, C values each."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean: NDArray[np.float32]
    var: NDArray[np.float32]
    eps: float

    @property
    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factor and offset that it comes to."""
        factor = self.weight.astype(np.float64) / np.sqrt(self.var.astype(np.float64) + self.eps)
        return factor, self.bias - self.mean * factor


@dataclass(slots=True)
class Layer:
    """A convolution, or a fully connected layer as a 1 x 1 convolution.

    Args:
        name: for messages.
        weight: c_out c_in k k, depthwise c 1 k k; dequantized.
        bias: zeros where the file has none; batch norms may be folded into it and the weight.
        source: what enters.
        size: rows of the map that enters, before padding.
        pads: rows added above and below.
        norm: the batch norm behind it, where the file has kept it.
        squeeze: the two layers of the squeeze-excite on its output.
        shortcut: the layer whose output is added to its own; None for no residual.
        dilation: distance of the kernel's points on the map.
        padded_apart: whether an operator of its own pads the map.
    """

    name: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    depthwise: bool
    stride: int
    activation: Activation
    source: Value
    size: int
    pads: Pads
    norm: Norm | None = None
    squeeze: tuple[int, int] | None = None
    shortcut: int | None = None
    dilation: int = 1
    padded_apart: bool = False

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return int(self.weight.shape[2])

    @property
    def reach(self) -> int:
        """Side of what the kernel covers, dilation included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def joins(self) -> bool:
        """Whether a residual is added to its output."""
        return self.shortcut is not None


@dataclass(slots=True)
class Walk:
    """One pass over a graph; `layers` is the result.

    Args:
        graph: what to walk.
        values: what each tensor means, as far as the pass has come.
        constants: dequantized constants that an operator of its own unpacks.
        resizes: maps that are made larger.
        scalings: factors and offsets per channel that wait for the next layer.
        pixels: factor and offset that the graph applies to pixels before its first layer; None if it applies none.
        resized: side that the graph itself resizes images to, px; 0 where it does not.
        ending: what follows the last layer.
        pools_scores: whether the map of the last layer is averaged after the layer, not before it.
    """

    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    values: dict[int, Value] = field(default_factory=dict)
    constants: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    resizes: list[Resize] = field(default_factory=list)
    scalings: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)
    pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    resized: int = 0
    ending: Ending = ""
    pools_scores: bool = False

    def constant(self, i: int) -> NDArray[np.float32] | None:
        """The values of a tensor that does not depend on the image, else None."""
        if i in self.constants:
            return self.constants[i]
        return self.graph.tensors[i].values() if i >= 0 and self.graph.tensors[i].is_constant else None

    def value(self, operator: Operator, position: int = 0) -> Value:
        """What an input of an operator means.

        Raises:
            WeightsError: it does not depend on the image.
        """
        i = operator.inputs[position] if position < len(operator.inputs) else -1
        if i not in self.values:
            raise self.refuse(operator, "does not follow from the image")
        return self.values[i]

    def shape(self, i: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self.graph.tensors[i].shape

    def scale_pixels(self, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        """Note that pixels are multiplied and shifted, after what was noted before."""
        before, shift = self.pixels or (np.ones(1), np.zeros(1))
        self.pixels = before * factor, shift * factor + offset

    def refuse(self, operator: Operator, why: str, *, hint: str = "") -> WeightsError:
        """The error for an operator that no MobileNet has there."""
        name = operator.shown or f"{operator.kind} at '{self.graph.tensors[operator.outputs[0]].name}'"
        return WeightsError(f"'{self.graph.origin}' cannot be converted: {name} {why}", hint=hint or ONLY)


ONLY = "only what a MobileNet has can be converted; remove that layer, or train our network: mobilenets train DATA"

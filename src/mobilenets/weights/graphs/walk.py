"""The records of a walk over a graph: its layers, the meaning of each tensor, and what happens to pixels before them."""

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
"""Maximum number of weights in all layers of a file; the largest MobileNet has 40 million."""


@dataclass(frozen=True, slots=True)
class Value:
    """The meaning of a tensor of the graph.

    Args:
        step: progress within an activation: hard-swish and hard sigmoid may consist of several operators.
        layer: index of the layer that it is an output of, possibly further processed; -1 for the image.
        pads: rows added above and below by a separate padding operator.
        dilation: dilation of a feature map whose pixels were distributed over a batch.
        joined: the layers whose outputs are concatenated, in order; the last one is `layer`.
        scaling: index into `Walk.scalings` of a factor and an offset that the next layer must fold in; -1 for none.
    """

    step: Step
    layer: int = -1
    pads: Pads = (0, 0)
    dilation: int = 1
    joined: tuple[int, ...] = ()
    scaling: int = -1


@dataclass(frozen=True, slots=True)
class Resize:
    """Bilinear upsampling of a layer's output.

    Args:
        layer: index of the layer.
        align_corners: whether the centers of the corner pixels stay aligned.
        half_pixel_centers: whether the edges of the map stay aligned.
    """

    layer: int
    align_corners: bool
    half_pixel_centers: bool


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm that is separate from its convolution in the file; C values each."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean: NDArray[np.float32]
    var: NDArray[np.float32]
    eps: float

    @property
    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The factor and offset that it is equivalent to."""
        factor = self.weight.astype(np.float64) / np.sqrt(self.var.astype(np.float64) + self.eps)
        return factor, self.bias - self.mean * factor


@dataclass(slots=True)
class Layer:
    """A convolution, or a fully connected layer as a 1 x 1 convolution.

    Args:
        name: its name, for messages.
        weight: c_out c_in k k, or c 1 k k if depthwise; dequantized.
        bias: zeros if the file has none; batch norms may be folded into it and the weight.
        source: its input.
        size: rows of its input feature map, before padding.
        pads: rows of padding above and below.
        norm: the batch norm after it, if the file has a separate one.
        squeeze: the two layers of the squeeze-excite on its output.
        shortcut: the layer whose output is added to its own; None without a shortcut.
        dilation: dilation of the kernel.
        padded_apart: whether a separate operator does the padding.
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
        """Side of the kernel, px."""
        return int(self.weight.shape[2])

    @property
    def reach(self) -> int:
        """Side of the area that the kernel covers, dilation included, px."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def joins(self) -> bool:
        """Whether a shortcut is added to its output."""
        return self.shortcut is not None


@dataclass(slots=True)
class Walk:
    """A walk over a graph, which collects `layers`.

    Args:
        graph: the graph.
        values: the meaning of each tensor that the walk has reached.
        constants: dequantized constants that separate operators unpack.
        resizes: upsampled feature maps.
        scalings: factors and offsets per channel that the next layer has yet to fold in.
        pixels: factor and offset that the graph applies to pixels before its first layer; None if it applies none.
        resized: side that the graph itself resizes images to, px; 0 if it does not.
        ending: the activation after the last layer.
        pools_scores: whether the mean over the feature map is taken after the last layer instead of before it.
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
        """The values of a tensor that does not depend on the image; None otherwise."""
        if i in self.constants:
            return self.constants[i]
        return self.graph.tensors[i].values() if i >= 0 and self.graph.tensors[i].is_constant else None

    def value(self, operator: Operator, position: int = 0) -> Value:
        """The meaning of an operator's input.

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
        """Record that pixels are multiplied and shifted, after the operations recorded before."""
        before, shift = self.pixels or (np.ones(1), np.zeros(1))
        self.pixels = before * factor, shift * factor + offset

    def refuse(self, operator: Operator, why: str, *, hint: str = "") -> WeightsError:
        """The error for an operator that no MobileNet has in this place."""
        name = operator.shown or f"{operator.kind} at '{self.graph.tensors[operator.outputs[0]].name}'"
        return WeightsError(f"'{self.graph.origin}' cannot be converted: {name} {why}", hint=hint or ONLY)


ONLY = "only what a MobileNet has can be converted; remove that layer, or train our network: mobilenets train DATA"

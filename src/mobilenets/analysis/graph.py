"""What a network does when it runs: its layers in order, with shapes, parameters and MACs.

`trace` takes the graph from a run of the module, `outline` from the spec of a classifier without torch; both give the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

COUNTING_RULE = (
    "MACs are the multiply-adds of convolutions, linear layers and attention's matrix products; "
    "norms, activations, pooling, additions and biases count 0. Parameters are all that is learned, gamma and beta included."
)

Kind = Literal[
    "conv", "depthwise", "linear", "matmul", "pool", "add", "multiply", "concat", "resize", "norm", "activation", "other"
]


@dataclass(frozen=True, slots=True)
class Window:
    """The window of a convolution: kernel, stride and dilation, each as height and width."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of the network; a norm and an activation belong to the layer whose output they change.

    Args:
        name: the module that ran it, the beginning of its parameters' names; its kind where that is the network itself.
        kind: what it is.
        inputs: indices of the values it reads; `Graph.shapes` has their shapes.
        output: index of the value it makes.
        params: what it learns.
        macs: multiply-adds.
        window: of a convolution.
        block: the row of the backbone it stands in; -1 for tail and head.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    output: int
    params: int = 0
    macs: int = 0
    window: Window | None = None
    block: int = -1

    @property
    def operator(self) -> str:
        """What it is, for people: "depthwise 3x3 /2"."""
        if self.window is None:
            return self.kind
        (h, w), (stride, _), (dilation, _) = self.window.kernel, self.window.stride, self.window.dilation
        return (
            f"{self.kind} {h}x{w}"
            + (f" /{stride}" if stride > 1 else "")
            + (f" dilated {dilation}" if dilation > 1 and h * w > 1 else "")
        )


@dataclass(frozen=True, slots=True)
class Graph:
    """The layers as they ran.

    Args:
        layers: in the order they ran.
        shapes: of every value, by index; value 0 is the input.
        outputs: indices of the values that the network returns.
    """

    layers: tuple[Layer, ...]
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]

    @property
    def params(self) -> int:
        """All that is learned: weights, biases, gamma and beta."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of one run."""
        return sum(layer.macs for layer in self.layers)

    def elements(self, value: int) -> int:
        """How many numbers a value holds."""
        return math.prod(self.shapes[value])

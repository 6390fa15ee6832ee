"""`LayerGraph`: a network's layers in execution order, with shapes, parameters and MACs.

`trace` records it from a run of the module; `outline` derives it from a classifier's spec, without torch. Both agree.
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
Function = Literal["linear", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu", "softmax"]


@dataclass(frozen=True, slots=True)
class Window:
    """The window of a convolution: kernel, stride and dilation, each as height and width."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the network. Batch norm and activation belong to the layer whose output they change.

    Args:
        name: name of its module, which is the prefix of its parameters' names; its kind if the module is the network itself.
        kind: its kind.
        inputs: indices of its input values; `LayerGraph.shapes` has their shapes.
        output: index of its output value.
        params: number of parameters.
        macs: number of multiply-adds.
        window: the window, if it is a convolution.
        block: index of the backbone's row that it belongs to; -1 for the tail and the head.
        activation: activation of its output.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    output: int
    params: int = 0
    macs: int = 0
    window: Window | None = None
    block: int = -1
    activation: Function = "linear"

    @property
    def operator(self) -> str:
        """Its kind and window for display: "depthwise 3x3 /2"."""
        if self.window is None:
            return self.kind
        (h, w), (stride, _), (dilation, _) = self.window.kernel, self.window.stride, self.window.dilation
        return (
            f"{self.kind} {h}x{w}"
            + (f" /{stride}" if stride > 1 else "")
            + (f" dilated {dilation}" if dilation > 1 and h * w > 1 else "")
        )


@dataclass(frozen=True, slots=True)
class LayerGraph:
    """The layers of one forward pass.

    Args:
        layers: the layers, in the order they run.
        shapes: the shape of every value, by index; value 0 is the input.
        outputs: indices of the values that the network returns.
    """

    layers: tuple[Layer, ...]
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]

    @property
    def params(self) -> int:
        """The number of all parameters: weights, biases, gamma and beta."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """The number of multiply-adds of one forward pass."""
        return sum(layer.macs for layer in self.layers)

    def elements(self, value: int) -> int:
        """The number of elements of a value."""
        return math.prod(self.shapes[value])

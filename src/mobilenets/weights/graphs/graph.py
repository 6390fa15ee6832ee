"""`Graph`: tensors and operators with TFLite's names. TFLite files are read as graphs, Keras models are converted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation

PADDINGS = ("SAME", "VALID")
ACTIVATIONS: dict[int, Activation] = {0: "linear", 1: "relu", 3: "relu6"}
"""Activations that are fused into an operator, by number in TFLite's schema."""


def _no_floats() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


def _no_integers() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """A tensor of the graph, constant or computed.

    Args:
        name: its name in the file, for messages.
        shape: its shape; N H W C for images.
        dtype: NumPy's name of its type, such as "u1" for unsigned 8 bits; "" for a type that networks do not use.
        scale: scale of each channel along `axis`, or one for all; empty if not quantized.
        zero_point: the stored value that represents 0, one per scale.
        axis: axis of per-channel scales.
        stored: the constant as stored in the file; None if the network computes it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "<f4"
    scale: NDArray[np.float32] = field(default_factory=_no_floats)
    zero_point: NDArray[np.int64] = field(default_factory=_no_integers)
    axis: int = 0
    stored: NDArray[np.generic] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the file stores its values."""
        return self.stored is not None

    def values(self) -> NDArray[np.float32]:
        """The constant, dequantized: `(stored - zero_point) * scale`, per tensor or per channel.

        Raises:
            WeightsError: the tensor is computed by the network.
        """
        if self.stored is None:
            raise WeightsError(f"tensor '{self.name}' is not a constant")
        if not len(self.scale):
            return self.stored.astype(np.float32)
        shape = [1] * self.stored.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        whole = self.stored.astype(np.float64) - self.zero_point.reshape(shape or [1])
        values: NDArray[np.float32] = (whole * self.scale.reshape(shape or [1]).astype(np.float64)).astype(np.float32)
        return values.reshape(self.stored.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Args:
        kind: its name in TFLite, such as `"CONV_2D"`, or a name that no step knows.
        inputs, outputs: indices into the graph's tensors; -1 for an input that is left out.
        options: its settings, by name.
        shown: its name in the file's own library, for messages; empty to use `kind` and the name of its output.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """The main graph of a file.

    Args:
        origin: the file, for messages.
        tensors: constant and computed tensors.
        operators: the operators, in execution order.
        inputs, outputs: indices into `tensors`.
        loss: the loss that it was trained with according to the file, such as `"binary_crossentropy"`; empty if unknown.
        takes_any_size: whether the input's height and width are open, so that the shapes are those of one size among many.
    """

    origin: str
    tensors: tuple[GraphTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    loss: str = ""
    takes_any_size: bool = False

    def __post_init__(self) -> None:
        count = len(self.tensors)
        for operator in self.operators:
            outside = [i for i in operator.inputs if not -1 <= i < count] + [i for i in operator.outputs if not 0 <= i < count]
            if outside or not operator.outputs:
                raise WeightsError(f"'{self.origin}' is damaged: a {operator.kind} refers to tensors that are not there")
        if len(self.inputs) != 1 or not 0 <= self.inputs[0] < count:
            raise WeightsError(
                f"'{self.origin}' has {len(self.inputs)} inputs, but an image network has 1",
                hint="convert a network that takes one image and nothing else",
            )
        if any(not 0 <= i < count for i in self.outputs):
            raise WeightsError(f"'{self.origin}' is damaged: its outputs are not there")

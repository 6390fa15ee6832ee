"""`Graph`: tensors and operators, as TFLite names them. TFLite files are one, Keras configurations become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation

PADDINGS = ("SAME", "VALID")
ACTIVATIONS: dict[int, Activation] = {0: "linear", 1: "relu", 3: "relu6"}
"""Activations that are fused into an operator, by their number in TFLite's schema."""


def _no_floats() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


def _no_integers() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """A tensor of the graph, constant or not.

    Args:
        name: as the file has it, for messages.
        shape: N H W C for images.
        dtype: NumPy's name of its type, "u1" for unsigned 8 bits; "" for a type that networks do not use.
        scale: of each channel along `axis`, or one for all; empty when not quantized.
        zero_point: the stored value that means 0, as many as scales.
        axis: of per-channel scales.
        stored: the constant as the file holds it, None for what the network computes.
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
        """Whether the file holds its values."""
        return self.stored is not None

    def values(self) -> NDArray[np.float32]:
        """The constant, dequantized: `(stored - zero_point) * scale`, per tensor or per channel.

        Raises:
            WeightsError: the network computes this tensor.
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
        kind: TFLite's name of it, `"CONV_2D"`, or a name that no step knows.
        inputs, outputs: indices into the graph's tensors; -1 for an input that is left out.
        options: its settings by name.
        shown: what the file's own library calls it, for messages; empty for `kind` at the name of its output.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """The main graph of a file, its operators in the order they run.

    Args:
        origin: the file, for messages.
        tensors: constants and computed ones.
        operators: in the order they run.
        inputs, outputs: indices into `tensors`.
        loss: the loss that the file says it was trained with, `"binary_crossentropy"`; empty where it does not say.
        takes_any_size: whether the input's height and width are open, and the shapes those of one size among many.
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

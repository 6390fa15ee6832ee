"""Builds a graph from Keras layers, one at a time, with weights from the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import WeightsError
from mobilenets.weights.graphs.graph import GraphTensor, Operator
from mobilenets.weights.keras.config import Call
from mobilenets.weights.keras.files import Array, Stored
from mobilenets.weights.told import Told

# fmt: off
ACTIVATIONS = {  # Keras's name of an activation: the operator
    "relu": "RELU", "relu6": "RELU6", "hard_swish": "HARD_SWISH", "hard_silu": "HARD_SWISH", "gelu": "GELU",
    "softmax": "SOFTMAX", "sigmoid": "LOGISTIC", "hard_sigmoid": "HARD_SIGMOID",
}
# fmt: on
_OLDER = 2  # up to this version, Keras's hard sigmoid was clip(0.2 x + 0.5, 0, 1)

Shape = tuple[int, ...]


class Builder:
    """A graph that grows by one layer at a time."""

    def __init__(self, stored: Stored, told: Told) -> None:
        self.stored, self.told = stored, told
        self.tensors: list[GraphTensor] = []
        self.operators: list[Operator] = []

    def weights(self, call: Call, count: int) -> list[Array]:
        """The weights of a layer; their number must match its settings."""
        weights = numbered_weights(self.stored, call) if self.stored.is_numbered else listed_weights(self.stored, call)
        if len(weights) != count:
            raise self.refuse(call, f"has {len(weights)} weights in the file, where its settings say {count}")
        return weights

    def tensor(self, name: str, shape: Shape, stored: NDArray[np.generic] | None = None) -> int:
        """The index of a new tensor."""
        self.tensors.append(GraphTensor(name, shape, stored=stored))
        return len(self.tensors) - 1

    def constant(self, values: object) -> int:
        """The index of a new constant."""
        array = np.asarray(values, np.float32)
        return self.tensor("constant", array.shape, array)

    def add(self, call: Call, kind: str, inputs: Sequence[int], shape: Shape, **options: float) -> int:
        """Add an operator, and return the index of its output."""
        output = self.tensor(call.name, shape)
        self.operators.append(Operator(kind, tuple(inputs), (output,), options, call.shown))
        return output

    def activated(self, call: Call, x: int, activation: Any) -> int:  # Any: JSON
        """Add the activation that a layer's settings name, as an operator after it."""
        name = activation.get("config", activation.get("class_name")) if isinstance(activation, dict) else activation
        name = (name.get("name", "") if isinstance(name, dict) else str(name or "linear")).rpartition(">")[2].lower()
        if name == "linear":
            return x
        older = name == "hard_sigmoid" and int(self.stored.version.partition(".")[0] or _OLDER) <= _OLDER
        if name not in ACTIVATIONS or older:
            raise self.refuse(call, f"has the activation '{name[:40]}', which no network here has")
        return self.same(call, ACTIVATIONS[name], x)

    def shape(self, x: int) -> Shape:
        """The shape of a tensor."""
        return self.tensors[x].shape

    def refuse(self, call: Call, why: str) -> WeightsError:
        """The error for a layer that cannot be converted."""
        return WeightsError(
            f"'{self.stored.origin}' cannot be converted: {call.shown} {why}",
            hint="only what a MobileNet has can be converted; build the model without that layer, and save it again",
        )

    def same(self, call: Call, kind: str, x: int) -> int:
        """Add an operator that keeps the shape, and return the index of its output."""
        return self.add(call, kind, [x], self.shape(x))


def numbered_weights(stored: Stored, call: Call) -> list[Array]:
    """The weights of a layer in a file whose layers are numbered per class."""
    group = stored.root
    for number in call.numbers:
        container = stored.container(group)
        if container is None:
            raise KeyError(f"it has no weights of {call.shown}")
        group = stored.child(container, number)
    variables = stored.child(group, "vars") if "vars" in group else {}
    return [stored.array(variables, str(i)) for i in range(len(variables))]


def listed_weights(stored: Stored, call: Call) -> list[Array]:
    """The weights of a layer in a file that lists them by name; those of nested models are under the outermost one."""
    group = stored.child(stored.root, call.names[0])
    nested = len(call.names) > 1
    names = stored.names(group, "weight_names")
    return [stored.array(group, name) for name in names if not nested or name.split("/")[-2:-1] == [call.name]]

"""A Keras configuration as a sequence of layer calls, with nested models flattened, operands, and names of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilenets.errors import WeightsError

MODELS = ("Functional", "Sequential", "Model")
INPUT = "InputLayer"
MOST_LAYERS = 5000
"""Maximum number of layers of a model, nested ones included; the largest MobileNet has some 300."""
DEEPEST = 20
"""Maximum nesting depth of models."""

Json = Mapping[str, Any]  # Any: JSON
Key = tuple[str, int, int]
"""A layer's output: the layer's name, the index of the call, and the index of the output."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer.

    Args:
        kind: its class, such as `"Conv2D"`.
        name: its name.
        config: its settings.
        names: names of the enclosing models, and its own name.
        numbers: the same names as numbered files write them, such as `("functional", "conv2d_3")`.
    """

    kind: str
    name: str
    config: Json
    names: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return f"layer '{self.name}' ({self.kind})"


@dataclass(frozen=True, slots=True)
class Symbol:
    """An input or output tensor of a layer, by its index in the graph."""

    index: int


Applied = Callable[[Call, Sequence[Any]], int]
"""Adds a call with its operands, `Symbol`s and numbers, to a graph, and returns the index of its output."""


def check_class(config: Json, origin: str) -> None:
    """Check that a model's configuration lists its layers.

    Raises:
        WeightsError: it is of a user-defined class.
    """
    kind = _kind(config)
    if kind not in MODELS:
        raise WeightsError(
            f"'{origin}' is a model of its own class '{kind}', whose layers the file does not describe",
            hint="save its backbone and head as a Functional or Sequential model",
        )


def lay_open(config: Json, image: int, apply: Applied, origin: str) -> int:
    """Call every layer of a configuration, in an order in which its operands are available.

    Args:
        config: the model's configuration.
        image: index of the input tensor.
        apply: called for every layer that is not a model.
        origin: the file, for messages.

    Returns:
        The index of the model's output.

    Raises:
        WeightsError: it is not the configuration of a model with one input and one output.
    """
    return _Opener(apply, origin).model(config, [Symbol(image)], (), ())


@dataclass(slots=True)
class _Opener:
    apply: Applied
    origin: str
    count: int = 0

    def model(self, config: Json, inputs: list[Symbol], names: tuple[str, ...], numbers: tuple[str, ...]) -> int:
        if len(names) > DEEPEST:
            raise WeightsError(f"'{self.origin}' has models nested more than {DEEPEST} deep")
        inner = config["config"]
        layers = inner if isinstance(inner, list) else inner["layers"]  # Keras before 2.3 lists only a Sequential's layers
        if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
            raise WeightsError(f"'{self.origin}' has a configuration without layers")
        self.count += len(layers)
        if self.count > MOST_LAYERS:
            raise WeightsError(f"'{self.origin}' has more than {MOST_LAYERS} layers, which no MobileNet has")
        numbered = list(zip(layers, _numbered(layers), strict=True))
        if _kind(config) == "Sequential":
            return self._sequential(numbered, inputs, names, numbers)
        return self._functional(inner, numbered, inputs, names, numbers)

    def _sequential(
        self, numbered: list[tuple[Json, str]], inputs: list[Symbol], names: tuple[str, ...], numbers: tuple[str, ...]
    ) -> int:
        x = inputs[0]
        for layer, number in numbered:
            if _kind(layer) != INPUT:
                x = Symbol(self._layer(layer, [x], names, (*numbers, number)))
        return x.index

    def _functional(
        self,
        inner: Json,
        numbered: list[tuple[Json, str]],
        inputs: list[Symbol],
        names: tuple[str, ...],
        numbers: tuple[str, ...],
    ) -> int:
        starts, ends = _keys(inner["input_layers"]), _keys(inner["output_layers"])
        if len(starts) != 1 or len(ends) != 1 or len(inputs) != 1:
            raise WeightsError(
                f"'{self.origin}' has {len(starts)} inputs and {len(ends)} outputs, but a classifier has 1 of each",
                hint="convert a model with one input, one backbone and one output",
            )
        known: dict[Key, Symbol] = {starts[0]: inputs[0]}
        waiting = [
            (layer, number, i, node)
            for layer, number in numbered
            if _kind(layer) != INPUT
            for i, node in enumerate(layer.get("inbound_nodes") or [])
        ]
        if len(waiting) > MOST_LAYERS:
            raise WeightsError(f"'{self.origin}' calls layers more than {MOST_LAYERS} times, which no MobileNet does")
        while waiting and ends[0] not in known:
            later = []
            for layer, number, i, node in waiting:
                operands = _operands(node, known)
                if operands is None:
                    later.append((layer, number, i, node))
                    continue
                known[str(layer.get("name", layer["config"].get("name"))), i, 0] = Symbol(
                    self._layer(layer, operands, names, (*numbers, number))
                )
            if len(later) == len(waiting):
                break
            waiting = later
        if ends[0] not in known:
            raise WeightsError(f"'{self.origin}' has layers whose inputs do not follow from the image")
        return known[ends[0]].index

    def _layer(self, layer: Json, operands: list[Any], names: tuple[str, ...], numbers: tuple[str, ...]) -> int:
        inner = layer["config"]
        own = inner.get("name") if isinstance(inner, dict) else None
        name = str(layer.get("name") or own or _kind(layer))[:80]
        if _kind(layer) in MODELS:
            symbols = [operand for operand in operands if isinstance(operand, Symbol)]
            return self.model(layer, symbols, (*names, name), numbers)
        return self.apply(Call(_kind(layer), name, inner, (*names, name), numbers), operands)


def _kind(config: Json) -> str:
    return str(config.get("class_name", "")).rpartition(">")[2][:80]


def _numbered(layers: Sequence[Json]) -> list[str]:
    """Each layer's name in numbered files: its class in lower case, with a number from the second of its class on."""
    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        name = _snake(_kind(layer))
        number = counts.get(name, 0)
        counts[name] = number + 1
        names.append(f"{name}_{number}" if number else name)
    return names


def _snake(name: str) -> str:
    """
    >>> _snake("DepthwiseConv2D"), _snake("GlobalAveragePooling2D")
    ('depthwise_conv2d', 'global_average_pooling2d')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _keys(given: Any) -> list[Key]:  # Any: JSON
    """Outputs of layers, given as one, as a list, or by name."""
    if isinstance(given, dict):
        given = list(given.values())
    if given and isinstance(given[0], str):
        given = [given]
    return [(str(name), int(node), int(tensor)) for name, node, tensor in given]


def _operands(node: Any, known: Mapping[Key, Symbol]) -> list[Any] | None:  # Any: JSON
    """The operands of a layer's call: `Symbol`s and numbers, in order; None as long as one of them is not available."""
    operands: list[Any] = []
    if isinstance(node, dict):  # Keras 3
        given = [
            *node.get("args", []),
            *(value for name, value in node.get("kwargs", {}).items() if name in ("x1", "x2", "x", "y")),
        ]
        flat = [part for item in given for part in (item if isinstance(item, list) and not _is_constant(item) else [item])]
        for item in flat:
            if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
                name, call, tensor = item["config"]["keras_history"]
                operands.append(known.get((name, call, tensor)))
            elif item is not None:
                operands.append(item)
        return None if None in operands else operands
    if node and isinstance(node[0], str):
        node = [node]
    for name, call, tensor, *settings in node:  # Keras 2
        operands.append(known.get((name, call, tensor)))
        for key, value in (settings[0] if settings and isinstance(settings[0], dict) else {}).items():
            if key in ("y", "x") and _is_key(value):
                operands.append(known.get((value[0], value[1], value[2])))
            elif key in ("y", "x") and value is not None:
                operands.append(value)
    return None if None in operands else operands


def _is_key(value: Any) -> bool:  # Any: JSON
    return isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str)


def _is_constant(value: Any) -> bool:  # Any: JSON
    return isinstance(value, list) and bool(value) and all(isinstance(number, int | float) for number in value)

"""The layers after pooling, if a file does not say how they are connected: hidden layers, batch norms, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.rows import Activation, Conv
from mobilenets.weights.assemble import Block
from mobilenets.weights.heads import Output, classifier

Gap = Literal["none", "some", "unknown"]
"""What is between a layer and the one before it in the file: nothing, layers without weights, or unknown."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer, or a batch norm of features.

    Args:
        name: its name, for messages.
        weight: outputs x inputs; for a batch norm, its factor per feature.
        bias: bias of each output, or None for zeros; for a batch norm, its offset.
        behind: what is between it and the layer before it.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    behind: Gap = "unknown"

    @property
    def is_norm(self) -> bool:
        """Whether it is a batch norm."""
        return self.weight.ndim == 1


@dataclass(frozen=True, slots=True)
class Top:
    """The layers after pooling, in the form of a `Network`."""

    tail: list[Block] = field(default_factory=list)
    head: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def norm_layer(name: str, parts: Sequence[Tensor], eps: float, behind: Gap = "unknown") -> Dense:
    """A batch norm of features, as factor and offset.

    Args:
        name: its name, for messages.
        parts: weight, bias, running mean, running variance.
        eps: its epsilon.
        behind: what is between it and the layer before it.
    """
    weight, bias, mean, var = (part.double() for part in parts)
    factor = weight / (var + eps).sqrt()
    return Dense(name, factor, bias - mean * factor, behind)


def top_of(layers: Sequence[Dense], features: int, activation: Activation | Literal[""], output: Output) -> Top:
    """Hidden layers and classifier, with batch norms folded into the neighboring layers.

    Args:
        layers: the layers, in the order in which features pass them.
        features: number of features from the backbone.
        activation: activation of hidden layers according to the user; "" if not given.
        output: how the last layer was used.

    Raises:
        WeightsError: they are not a chain of fully connected layers, or the file does not say what is between them.
    """
    if not layers:
        return Top()
    _check_chain(layers, features, output.origin)
    linear: list[tuple[Dense, Tensor, Tensor]] = []  # layer, weight, bias
    waiting: tuple[Tensor, Tensor] | None = None  # factor and offset that are folded into the next layer
    for layer in layers:
        if layer.is_norm:
            assert layer.bias is not None
            if linear and _is_before_activation(layer, output.origin):
                before, weight, bias = linear.pop()
                linear.append((before, weight * layer.weight[:, None], bias * layer.weight + layer.bias))
            else:
                waiting = (layer.weight, layer.bias) if waiting is None else (
                    waiting[0] * layer.weight,
                    waiting[1] * layer.weight + layer.bias,
                )  # fmt: skip
            continue
        weight, bias = layer.weight.double(), torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
        if waiting is not None:
            bias = bias.double() + weight @ waiting[1]
            weight, waiting = weight * waiting[0], None
        linear.append((layer, weight, bias.double()))
    if not linear or waiting is not None:
        raise WeightsError(f"'{output.origin}' ends in a batch norm, '{layers[-1].name}', not in a classifier")
    tail = [
        Block(
            Conv,
            {"conv.weight": weight.float()[:, :, None, None], "conv.bias": bias.float()},
            activation=_between(layer, activation, output),
        )
        for (_, weight, bias), (layer, _, _) in pairwise(linear)
    ]
    _, weight, bias = linear[-1]
    note = f"hidden layers have {activation}, as given" if activation else "hidden layers have no activation between them"
    return Top(tail, classifier(weight.float(), bias.float(), output), (note,) if tail else ())


def _between(layer: Dense, activation: Activation | Literal[""], output: Output) -> Activation:
    """The activation before a layer that follows another one."""
    if layer.behind == "none":
        return "linear"
    if activation:
        return activation
    raise WeightsError(
        f"'{output.origin}' has a hidden layer before '{layer.name}', and does not say which activation it has",
        hint="say which: --hidden-activation relu (or relu6, hard_swish, gelu, linear)",
    )


def _is_before_activation(layer: Dense, origin: str) -> bool:
    """Whether a batch norm is before a layer's activation, not after it."""
    if layer.behind == "unknown":
        raise WeightsError(
            f"'{origin}' does not say whether its batch norm '{layer.name}' stands before or behind an activation",
            hint="only heads of nn.Sequential, whose numbers say it, can have one",
        )
    return layer.behind == "none"


def _check_chain(layers: Sequence[Dense], features: int, origin: str) -> None:
    enters, source = features, "the pooled map"
    for layer in layers:
        wanted = layer.weight.shape[-1]
        if wanted != enters:
            raise WeightsError(
                f"'{origin}' cannot be converted: '{layer.name}' takes {wanted} values, but {source} has {enters}"
                f"{_reason(wanted, enters, features)}",
                hint="only heads of layers one after another on the averaged map can be converted",
            )
        enters, source = (layer.weight.shape[0], f"'{layer.name}'")


def _reason(wanted: int, enters: int, features: int) -> str:
    """What usually explains such a number of features."""
    if wanted == features != enters:
        return "; does it have several heads side by side?"
    if wanted == 2 * features:
        return "; is it average and maximum pooling side by side, as fastai has it?"
    if wanted % features == 0 and round((wanted // features) ** 0.5) ** 2 == wanted // features:
        side = round((wanted // features) ** 0.5)
        return f"; is it a flattened {side} x {side} map, not an averaged one?"
    return ""

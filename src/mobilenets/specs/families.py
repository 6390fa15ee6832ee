"""Every network of the family by name, and the function that builds one with custom options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from mobilenets.errors import SpecError
from mobilenets.specs import v1, v2, v3, v4
from mobilenets.specs.rows import Activation, Attention, BackboneSpec, Bottleneck, Conv, Padding, Row, with_output_stride
from mobilenets.specs.scaling import Scaling
from mobilenets.table import Table

# fmt: off
PAPERS: dict[str, Callable[..., BackboneSpec]] = {  # the networks themselves
    "mobilenet_v1":                    v1.mobilenet_v1,
    "mobilenet_v2":                    v2.mobilenet_v2,
    "mobilenet_v3_large":              v3.mobilenet_v3_large,
    "mobilenet_v3_small":              v3.mobilenet_v3_small,
    "mobilenet_v3_large_minimalistic": v3.mobilenet_v3_large_minimalistic,
    "mobilenet_v3_small_minimalistic": v3.mobilenet_v3_small_minimalistic,
    "mobilenet_edgetpu":               v3.mobilenet_edgetpu,
    "mobilenet_v4_conv_small":         v4.mobilenet_v4_conv_small,
    "mobilenet_v4_conv_medium":        v4.mobilenet_v4_conv_medium,
    "mobilenet_v4_conv_large":         v4.mobilenet_v4_conv_large,
    "mobilenet_v4_hybrid_medium":      v4.mobilenet_v4_hybrid_medium,
    "mobilenet_v4_hybrid_large":       v4.mobilenet_v4_hybrid_large,
}
COMPARISONS: dict[str, Callable[..., BackboneSpec]] = {  # the variants to which the papers compare them
    "mobilenet_v1_full":                  v1.mobilenet_v1_full,
    "mobilenet_v1_shallow":               v1.mobilenet_v1_shallow,
    "mobilenet_v2_relu_bottleneck":       v2.mobilenet_v2_relu_bottleneck,
    "mobilenet_v2_expansion_shortcut":    v2.mobilenet_v2_expansion_shortcut,
    "mobilenet_v2_no_shortcut":           v2.mobilenet_v2_no_shortcut,
    "mobilenet_v2_resnet":                v2.mobilenet_v2_resnet,
    "mobilenet_v3_small_1280":            v3.mobilenet_v3_small_1280,
    "mobilenet_v4_hybrid_medium_table13": v4.mobilenet_v4_hybrid_medium_table13,
}
# fmt: on
BACKBONES: Table[Callable[..., BackboneSpec]] = Table("network", {**PAPERS, **COMPARISONS})


def backbone(
    name: str,
    *,
    width: float = 1.0,
    in_channels: int = 3,
    padding: Padding = "tf",
    output_stride: int = 32,
    scaling: Scaling | None = None,
    activation: Activation | None = None,
    norm_eps: float | None = None,
    norm_momentum: float | None = None,
    dropout: float | None = None,
    stochastic_depth: float | None = None,
) -> BackboneSpec:
    """A network of the family with the given options; the rest is as in the paper.

    Args:
        width: the width multiplier, above 0.
        in_channels: channels of the input image, at least 1.
        padding: "tf" or "symmetric", see `BackboneSpec`.
        output_stride: 8, 16 or 32, see `with_output_stride`.
        scaling: the convention for applying the width, such as `v3.TORCHVISION`; the paper's by default.
        activation: replaces every activation that is not linear; V1's published weights, for example, need "relu6".
        norm_eps, norm_momentum: settings of batch norm, with momentum in PyTorch's sense.
        dropout, stochastic_depth: probabilities, from 0 to below 1.

    Raises:
        UnknownNameError: no network has this name.
        SpecError: a value is out of range.

    >>> backbone("mobilenet_v2", width=0.35).rows[0].c_out
    16
    """
    build = BACKBONES[name]
    if not (math.isfinite(width) and width > 0):
        raise SpecError(f"width {width} is not above 0", hint="the papers use 0.25 to 1.4")
    if in_channels < 1:
        raise SpecError(f"{in_channels} input channels; at least 1 is needed")
    if padding not in get_args(Padding):
        raise SpecError(f"padding '{padding}' is not one of {', '.join(get_args(Padding))}")
    if norm_eps is not None and not (math.isfinite(norm_eps) and norm_eps > 0):
        raise SpecError(f"norm eps {norm_eps} is not above 0")
    if norm_momentum is not None and not 0 <= norm_momentum <= 1:
        raise SpecError(f"norm momentum {norm_momentum} is not between 0 and 1")
    for option, chance in (("dropout", dropout), ("stochastic depth", stochastic_depth)):
        if chance is not None and not 0 <= chance < 1:
            raise SpecError(f"{option} {chance} is not from 0 to below 1")
    spec = build(width) if scaling is None else build(width, scaling=scaling)
    if min(row.c_out for row in spec.rows) < 1:
        raise SpecError(f"width {width} leaves a layer of {name} without channels")
    spec = with_output_stride(replace(spec, in_channels=in_channels, padding=padding), output_stride)
    if activation is not None:
        spec = with_activation(spec, activation)
    return replace(
        spec,
        norm_eps=spec.norm_eps if norm_eps is None else norm_eps,
        norm_momentum=spec.norm_momentum if norm_momentum is None else norm_momentum,
        dropout=spec.dropout if dropout is None else dropout,
        stochastic_depth=spec.stochastic_depth if stochastic_depth is None else stochastic_depth,
    )


def with_activation(spec: BackboneSpec, activation: Activation) -> BackboneSpec:
    """The same network with every activation replaced by `activation`; linear layers stay linear.

    Raises:
        SpecError: there is no such activation.
    """
    if activation not in get_args(Activation):
        raise SpecError(f"activation '{activation}' is not one of {', '.join(get_args(Activation))}")
    return replace(
        spec,
        rows=tuple(_activated(row, activation) for row in spec.rows),
        tail=tuple(replace(row, activation=activation) for row in spec.tail),
    )


def _activated(row: Row, activation: Activation) -> Row:
    match row:
        case Bottleneck(project_activation="linear"):
            return replace(row, activation=activation)
        case Bottleneck():
            return replace(row, activation=activation, project_activation=activation)
        case Attention() | Conv(activation="linear"):
            return row
        case _:
            return replace(row, activation=activation)

"""MobileNetV3-Large without some of its ideas: each function reverts one. Together they lead back from V3 to its origins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mobilenets.specs.families import backbone, with_activation
from mobilenets.specs.rows import Activation, BackboneSpec, Bottleneck, Conv, Row, make_divisible

WIDE_STEM = 32
ORIGINAL_LAST = (320, 1280)
"""The last stage before V3 (V3, Figure 5): a bottleneck to 320 channels and a 1 x 1 convolution to 1280, both at 7 x 7."""

Undo = Callable[[BackboneSpec], BackboneSpec]


def large(width: float = 1.0) -> BackboneSpec:
    """MobileNetV3-Large."""
    return backbone("mobilenet_v3_large", width=width)


def three_by_three(spec: BackboneSpec) -> BackboneSpec:
    """Every depthwise convolution with a kernel of 3 x 3."""
    return _each_bottleneck(spec, lambda row: replace(row, kernel=3))


def without_squeeze_excite(spec: BackboneSpec) -> BackboneSpec:
    """No squeeze-excite."""
    return _each_bottleneck(spec, lambda row: replace(row, c_squeeze=0))


def with_squeeze_excite(spec: BackboneSpec, share: float) -> BackboneSpec:
    """Squeeze-excite where V3 has it, with this share of the expansion's channels inside."""
    return _each_bottleneck(
        spec, lambda row: replace(row, c_squeeze=make_divisible(share * row.c_expand) if row.c_squeeze else 0)
    )


def with_relu(spec: BackboneSpec) -> BackboneSpec:
    """ReLU in place of every hard swish."""
    return with_activation(spec, "relu")


def hard_swish_from(spec: BackboneSpec, channels: int) -> BackboneSpec:
    """Hard swish from the first row with this many output channels on, ReLU above it (V3, Table 5: h-swish @N).

    Args:
        spec: MobileNetV3-Large at any width.
        channels: of a row at width 1.
    """
    first = [row.c_out for row in large().rows].index(channels)
    rows = [_activated(row, "hard_swish" if i >= first else "relu") for i, row in enumerate(spec.rows)]
    return replace(spec, rows=tuple(rows))


def wide_stem(spec: BackboneSpec) -> BackboneSpec:
    """32 filters in the first convolution instead of 16; the first block has no expansion layer, so it is as wide (V3, 5.1)."""
    stem, first, *others = spec.rows
    assert isinstance(first, Bottleneck)  # of V3
    wide = make_divisible(WIDE_STEM * spec.width)
    return replace(spec, rows=(replace(stem, c_out=wide), replace(first, c_expand=wide), *others))


def original_last_stage(spec: BackboneSpec) -> BackboneSpec:
    """The original last stage, all of it before the pooling (V3, Figure 5)."""
    *rows, last_map = spec.rows
    assert isinstance(last_map, Conv)  # of V3
    narrow, wide = ORIGINAL_LAST
    block = Bottleneck(last_map.c_out, make_divisible(narrow * spec.width), activation=last_map.activation)
    return replace(spec, rows=(*rows, block, Conv(wide, activation=last_map.activation)), tail=())


STEPS: dict[str, Undo] = {
    "5 x 5 kernels": three_by_three,
    "squeeze-excite": without_squeeze_excite,
    "hard swish": with_relu,
    "16 filters in the stem": wide_stem,
    "efficient last stage": original_last_stage,
}
"""V3's ideas in the order in which `path` adds them, each with the function that reverts it."""


def path() -> dict[str, BackboneSpec]:
    """From V2 to V3-Large: V3's rows without its ideas, then one idea after the other."""
    names = list(STEPS)
    found = {"V2": backbone("mobilenet_v2"), "V3's rows": _without(names)}
    found.update({f"+ {name}": _without(names[i + 1 :]) for i, name in enumerate(names)})
    return found


def _without(names: list[str]) -> BackboneSpec:
    spec = large()
    for name in names:
        spec = STEPS[name](spec)
    return replace(spec, name="mobilenet_v3_large_variant") if names else spec


def _each_bottleneck(spec: BackboneSpec, change: Callable[[Bottleneck], Row]) -> BackboneSpec:
    return replace(spec, rows=tuple(change(row) if isinstance(row, Bottleneck) else row for row in spec.rows))


def _activated(row: Row, activation: Activation) -> Row:
    return replace(row, activation=activation)

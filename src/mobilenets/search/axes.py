"""The channel axes of a network: channel counts that must stay equal, and how to rebuild rows with other counts.

Layers joined by a residual connection write the same channels, so they share an *axis*. NetAdapt shrinks one axis at a time; an
axis determines which dimensions of which weights shrink together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mobilenets.errors import SpecError
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    ResNetBottleneck,
    Row,
    Separable,
    Universal,
    feature_maps,
    make_divisible,
)
from mobilenets.specs.scaling import squeeze

Role = Literal["in", "inner", "out", "squeeze", "fixed"]
"""The meaning of a weight's dimension: channels entering the block, inside it, leaving it, inside squeeze-excite; or a fixed
size."""

IMAGE = "image"
"""The axis of the input's channels."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights below one name in a block.

    Args:
        name: name of the module; "" for the block itself.
        writes: role of the first axis of its weights.
        reads: role of the second axis; "fixed" for a depthwise convolution, which has one filter per channel.
    """

    name: str
    writes: Role
    reads: Role = "fixed"


@dataclass(frozen=True, slots=True)
class Kind:
    """The channel roles of a type of row.

    Args:
        layers: every layer of the block with weights.
        inner: name of the field with the inner channels; "" for none.
        joins: whether a residual ties the output channels to the input channels, given the row and its input channels.
        tied: whether the inner channels are the input channels, because there is no expansion layer.
    """

    layers: tuple[Layer, ...]
    inner: str = ""
    joins: Callable[[Any, int], bool] = lambda row, c_in: False  # Any: the row of this kind
    tied: Callable[[Any, int], bool] = lambda row, c_in: False  # Any: as above


def _same_shape(row: Row, c_in: int) -> bool:
    return row.stride == 1 and row.c_out == c_in


# fmt: off
ROWS: Mapping[type[Row], Kind] = {
    Conv: Kind((Layer("", "out", "in"),)),
    Separable: Kind((Layer("depthwise", "in"), Layer("pointwise", "out", "in"))),
    Bottleneck: Kind(
        (
            Layer("expand", "inner", "in"), Layer("depthwise", "inner"), Layer("squeeze.reduce", "squeeze", "inner"),
            Layer("squeeze.expand", "inner", "squeeze"), Layer("project", "out", "inner"),
        ),
        "c_expand",
        joins=lambda row, c_in: row.shortcut == "bottleneck" and _same_shape(row, c_in),
        tied=lambda row, c_in: row.c_expand == c_in,
    ),
    Fused: Kind((Layer("expand", "inner", "in"), Layer("project", "out", "inner")), "c_expand", joins=_same_shape),
    Universal: Kind(
        (
            Layer("start", "in"), Layer("expand", "inner", "in"), Layer("middle", "inner"), Layer("project", "out", "inner"),
            Layer("scale", "out"),
        ),
        "c_expand",
        joins=_same_shape,
    ),
    Attention: Kind(
        (
            Layer("norm", "out"), Layer("query", "fixed", "in"), Layer("key_reduce", "in"), Layer("key", "fixed", "in"),
            Layer("value_reduce", "in"), Layer("value", "fixed", "in"), Layer("project", "out"), Layer("scale", "out"),
        ),
        joins=lambda row, c_in: True,
    ),
    ResNetBottleneck: Kind(
        (
            Layer("reduce", "inner", "in"), Layer("middle", "inner", "inner"), Layer("expand", "out", "inner"),
            Layer("shortcut", "out", "in"),
        ),
        "c_reduce",
        joins=_same_shape,
    ),
}
# fmt: on
"""The channel roles, by type of row."""

RowAxes = Mapping[Role, str]
"""The name of the axis for each role."""


def axes(backbone: BackboneSpec) -> tuple[RowAxes, ...]:
    """The axes of each row, followed by those of each layer of the tail."""
    found: list[RowAxes] = []
    c_in, entering = backbone.in_channels, IMAGE
    for i, row in enumerate(backbone.rows):
        kind = ROWS[type(row)]
        leaving = entering if kind.joins(row, c_in) else f"rows.{i}.out"
        inner = entering if kind.tied(row, c_in) else f"rows.{i}.inner"
        found.append({"in": entering, "inner": inner, "out": leaving, "squeeze": f"rows.{i}.squeeze"})
        c_in, entering = row.c_out, leaving
    for i, _ in enumerate(backbone.tail):
        found.append({"in": entering, "out": f"tail.{i}.out"})
        entering = f"tail.{i}.out"
    return tuple(found)


def features(backbone: BackboneSpec) -> str:
    """The axis that a classifier reads."""
    return axes(backbone)[-1]["out"]


def sizes(backbone: BackboneSpec) -> dict[str, int]:
    """The channels of every axis, in the order of the network."""
    found = {IMAGE: backbone.in_channels}
    for row, roles in zip((*backbone.rows, *backbone.tail), axes(backbone), strict=True):
        inner = ROWS[type(row)].inner
        if inner:
            found.setdefault(roles["inner"], getattr(row, inner))
        if getattr(row, "c_squeeze", 0):
            found[roles["squeeze"]] = getattr(row, "c_squeeze")  # noqa: B009  # a field that one kind has
        found.setdefault(roles["out"], row.c_out)
    return found


def resized(backbone: BackboneSpec, channels: Mapping[str, int]) -> BackboneSpec:
    """The network with other channel counts on some axes; squeeze-excite keeps its share of the expansion.

    Args:
        backbone: the network.
        channels: new channel counts, by axis.

    Raises:
        SpecError: the network would no longer have the same residuals and expansion layers.
    """
    every = axes(backbone)
    new = {**sizes(backbone), **channels}
    rows = tuple(_resized(row, roles, new) for row, roles in zip(backbone.rows, every, strict=False))
    tail = tuple(
        replace(row, c_out=new[roles["out"]]) for row, roles in zip(backbone.tail, every[len(backbone.rows) :], strict=True)
    )
    made = replace(backbone, rows=rows, tail=tail)
    if axes(made) != every:
        told = ", ".join(f"{axis} with {count} channels" for axis, count in channels.items())
        raise SpecError(f"{told} adds or removes a residual or an expansion layer of '{backbone.name}'")
    return made


def knobs(backbone: BackboneSpec, *, maps: Collection[str] = ()) -> list[str]:
    """The axes that can be shrunk: expansions, and the outputs of blocks that share a residual (V3, section 4.2).

    The paper's authors then tuned stem and last stage by hand (section 5.1); here those are axes like the others.

    Args:
        backbone: the network.
        maps: names of the feature maps that a head reads; their channels are left out.
    """
    every = axes(backbone)
    known = feature_maps(backbone)
    read = {every[known[name][0]]["inner" if name.endswith(".expand") else "out"] for name in maps}
    squeezed = {roles["squeeze"] for roles in every if "squeeze" in roles}
    return [axis for axis in sizes(backbone) if axis != IMAGE and axis not in squeezed and axis not in read]


def narrower(backbone: BackboneSpec, axis: str, *, step: int = 8) -> list[BackboneSpec]:
    """The networks with fewer channels on one axis, in multiples of `step`, in descending order of width."""
    now = sizes(backbone)[axis]
    made: list[BackboneSpec] = []
    for channels in range((now - 1) // step * step, 0, -step):
        try:
            made.append(resized(backbone, {axis: channels}))
        except SpecError:
            continue  # it would gain or lose a residual
    return made


def told(backbone: BackboneSpec, axis: str) -> str:
    """A description of an axis: "expansion of block 3", "width of blocks 3 to 5"."""
    part, index, role = axis.split(".")
    if part == "tail":
        return f"width of tail layer {index}"
    if role == "inner":
        return f"expansion of block {index}"
    sharing = [i for i, roles in enumerate(axes(backbone)[: len(backbone.rows)]) if roles["out"] == axis]
    return f"width of block {sharing[0]}" if len(sharing) == 1 else f"width of blocks {sharing[0]} to {sharing[-1]}"


def _resized(row: Row, roles: RowAxes, channels: Mapping[str, int]) -> Row:
    inner = ROWS[type(row)].inner
    made = replace(row, c_out=channels[roles["out"]], **({inner: channels[roles["inner"]]} if inner else {}))
    before = getattr(row, "c_squeeze", 0)
    if not before:
        return made
    wide, now = getattr(row, inner), channels[roles["inner"]]
    usual = before == squeeze(wide)
    return replace(made, c_squeeze=squeeze(now) if usual else make_divisible(before * now / wide))

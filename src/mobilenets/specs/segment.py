"""What segmentation networks share: the backbone's end, the input contract, and RF2, a last block with half the filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from msgspec import Meta

from mobilenets.errors import SpecError
from mobilenets.specs.model import InputContract
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Fused,
    Place,
    ResNetBottleneck,
    Row,
    Universal,
    feature_maps,
    make_divisible,
    places,
    with_output_stride,
)
from mobilenets.specs.scaling import squeeze
from mobilenets.table import Table

ColorValue = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[ColorValue, ColorValue, ColorValue]
On = Literal["last", "second_last"]

LAST_STRIDE = 32
"""Rows at this stride in the paper's table form the last block."""


def segmentation_backbone(backbone: BackboneSpec, *, output_stride: int, on: On, reduced: bool) -> BackboneSpec:
    """The backbone adapted to segmentation: no layers after pooling, and its last map is the one that the head reads.

    Args:
        output_stride: input px per px of that map: 8, 16 or 32.
        on: whether the head reads the last map or, as V2* in the V2 paper, the second last.
        reduced: whether the last block has half the filters, see `with_reduced_last_block`.

    Raises:
        SpecError: the output stride is not one of 8, 16, 32.
    """
    whole = with_reduced_last_block(backbone) if reduced else backbone
    rows = whole.rows[:-1] if on == "second_last" else whole.rows
    return with_output_stride(replace(whole, rows=rows, tail=()), output_stride)


def with_reduced_last_block(backbone: BackboneSpec, *, expansions: Literal["halved", "follow"] = "halved") -> BackboneSpec:
    """The backbone with half the filters in its last block, at stride 32 (V3, section 6.4: RF2).

    Args:
        expansions: "halved" halves every expansion, which matches the parameter counts of the paper's V3 networks. "follow"
            keeps each row's ratio to its input channels, which matches those of its V2 networks; the first row's expansion
            then stays as it is, because its input is not reduced.

    >>> from mobilenets.specs.families import backbone
    >>> [row.c_out for row in with_reduced_last_block(backbone("mobilenet_v3_large")).rows[-4:]]
    [80, 80, 80, 480]
    """
    block = [place for place in places(backbone) if place.table_stride >= LAST_STRIDE]
    rows = list(backbone.rows[: len(backbone.rows) - len(block)])
    for place in block:
        c_in = rows[-1].c_out if rows else place.c_in
        rows.append(_halved(place, c_in / place.c_in if expansions == "follow" else 0.5))
    return replace(backbone, rows=tuple(rows))


def segmentation_input(size: int | tuple[int, int], channels: int) -> InputContract:
    """An input contract that stretches the whole image to the given height and width, with pixels from -1 to 1.

    Args:
        size: one side of a square, or height and width, px.
        channels: number of image channels.
    """
    height, wide = (size, size) if isinstance(size, int) else size
    half = (0.5,) * (channels if channels == 3 else 1)
    return InputContract(channels=channels, mean=half, std=half, resize="stretch", crop=1.0).shaped(height, wide)


def check_maps(backbone: BackboneSpec, *names: str) -> None:
    """Check that each name is empty or the name of a feature map.

    Raises:
        UnknownNameError: the backbone has no map of that name.
    """
    known = Table("feature map", feature_maps(backbone))
    for name in names:
        if name:
            known[name]


def check_filters(filters: int, what: str = "filters") -> None:
    """Check that a number of channels is positive.

    Raises:
        SpecError: it is not positive.
    """
    if filters < 1:
        raise SpecError(f"{filters} {what}; at least 1 is needed")


def check_colors(colors: tuple[Color, ...]) -> None:
    """Check that every color has three values from 0 to 255.

    Raises:
        SpecError: a color does not.
    """
    for color in colors:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise SpecError(f"color {color} is not three values of 0 to 255")


def _halved(place: Place, expansion: float) -> Row:
    """The row with half its output channels and its expansion multiplied by `expansion`."""
    row = place.row
    c_out = make_divisible(row.c_out / 2)
    match row:
        case Bottleneck(c_expand=c_expand, c_squeeze=c_squeeze):
            expand = make_divisible(c_expand * expansion)
            return replace(row, c_expand=expand, c_out=c_out, c_squeeze=squeeze(expand) if c_squeeze else 0)
        case Fused(c_expand=c_expand) | Universal(c_expand=c_expand):
            return replace(row, c_expand=make_divisible(c_expand * expansion), c_out=c_out)
        case ResNetBottleneck(c_reduce=c_reduce):
            return replace(row, c_reduce=make_divisible(c_reduce / 2), c_out=c_out)
        case Attention(heads=heads):
            return replace(row, heads=max(heads // 2, 1), c_out=c_out)
        case _:
            return replace(row, c_out=c_out)

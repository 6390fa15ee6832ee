"""The width multiplier: one record per convention, and one function that applies it to a paper's rows.

The papers and the libraries that publish weights agree on the networks at width 1, but on little else. `Scaling` records their
differences; each paper's module holds the conventions that exist for it (`PAPER`, `TORCHVISION`, `TIMM`, `KERAS` ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from mobilenets.specs.rows import Bottleneck, Conv, Fused, ResNetBottleneck, Row, Universal, make_divisible

SQUEEZE_SHARE = 4  # squeeze-excite reduces to a quarter of the expansion (V3, section 5.3)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a width multiplier turns the channels in a table into those of a network.

    Args:
        channels: rounds a scaled channel count to the number that is built.
        expansion: "input" keeps the table's ratio to the channels that enter the block (slim, Keras, timm);
            "table" scales the table's own expansion (torchvision, PaddleClas). They give the same network only at width 1.
        stem_from: smallest width at which the stem is scaled; below it, the stem keeps the table's channels.
        last: how the widest layer, before the classifier, is scaled: "grows" scales it only above width 1, "fixed" never,
            "scales" always. V1 has no such layer.
        last_map: channels of V3's last map: "table" scales the table's value, "six_times" takes six times its input channels.
        depth: factor on the number of rows in a stage, rounded up; only timm's "d" networks use a value other than 1.
    """

    channels: Callable[[float], int] = make_divisible
    expansion: Literal["input", "table"] = "input"
    stem_from: float = 0.0
    last: Literal["grows", "fixed", "scales"] = "grows"
    last_map: Literal["table", "six_times"] = "table"
    depth: float = 1.0

    def stem(self, c_table: int, width: float) -> int:
        """Output channels of the first layer."""
        return self.channels(c_table * width) if width >= self.stem_from else c_table

    def last_layer(self, c_table: int, width: float) -> int:
        """Output channels of the widest layer, before the classifier."""
        if self.last == "fixed" or (self.last == "grows" and width <= 1):
            return c_table
        return self.channels(c_table * width)


def scaled(rows: Sequence[Row], width: float, scaling: Scaling) -> tuple[Row, ...]:
    """A table's rows scaled to `width`; the first row is the stem, a `Conv`."""
    return tuple(_scaled(rows, width, scaling))


def _scaled(rows: Sequence[Row], width: float, scaling: Scaling) -> Iterator[Row]:
    stem = rows[0]
    c_table, c_in = stem.c_out, scaling.stem(stem.c_out, width)
    yield replace(stem, c_out=c_in)
    for row in rows[1:]:
        c_out = scaling.channels(row.c_out * width)
        match row:
            case Bottleneck(c_expand=c_expand, c_squeeze=c_squeeze):
                expand = _expansion(c_expand, c_table, c_in, width, scaling)
                yield replace(row, c_expand=expand, c_out=c_out, c_squeeze=squeeze(expand) if c_squeeze else 0)
            case Fused(c_expand=c_expand) | Universal(c_expand=c_expand):
                yield replace(row, c_expand=_expansion(c_expand, c_table, c_in, width, scaling), c_out=c_out)
            case ResNetBottleneck(c_reduce=c_reduce):
                yield replace(row, c_reduce=scaling.channels(c_reduce * width), c_out=c_out)
            case _:
                yield replace(row, c_out=c_out)
        c_table, c_in = row.c_out, c_out


def deepened(rows: Sequence[Row], depth: float) -> tuple[Row, ...]:
    """The rows with each stage `depth` times as deep, repeated as in timm; a stage is a run of equal output channels.

    >>> stage = [Conv(8, stride=2), Conv(8), Conv(8)]
    >>> [row.stride for row in deepened(stage, 1.4)]
    [2, 1, 1, 1, 1]
    """
    return tuple(row for _, stage in groupby(rows, lambda row: row.c_out) for row in _deeper(list(stage), depth))


def _deeper(stage: list[Row], depth: float) -> list[Row]:
    runs = [(row, len(list(run))) for row, run in groupby(stage)]
    times: list[int] = []
    left, wanted = len(stage), math.ceil(len(stage) * depth)
    for _, run in reversed(runs):  # later rows receive the extra repeats first
        times.insert(0, max(1, round(run / left * wanted)))
        left, wanted = left - run, wanted - times[0]
    if len(times) > 1:  # the strided row occurs only once
        times[:2] = 1, times[1] + times[0] - 1
    return [row for (row, _), n in zip(runs, times, strict=True) for row in [row] * n]


def squeeze(c_expand: int) -> int:
    """Inner channels of squeeze-excite in a block with this expansion.

    >>> squeeze(72), squeeze(960)
    (24, 240)
    """
    return make_divisible(c_expand / SQUEEZE_SHARE)


def widened(conv: Conv, width: float, scaling: Scaling) -> Conv:
    """The widest layer scaled to `width`."""
    return replace(conv, c_out=scaling.last_layer(conv.c_out, width))


def _expansion(c_expand: int, c_table: int, c_in: int, width: float, scaling: Scaling) -> int:
    if c_expand == c_table:
        return c_in
    if scaling.expansion == "table":
        return scaling.channels(c_expand * width)
    return make_divisible(c_in * c_expand / c_table)

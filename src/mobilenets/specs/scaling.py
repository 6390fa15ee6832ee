"""The width multiplier: one record per convention, one function that applies it to a paper's rows.

The papers and the libraries that offer their weights agree on the networks at width 1 and on little else. What they differ in
stands in `Scaling`; each paper's module holds the conventions that exist for it (`PAPER`, `TORCHVISION`, `TIMM`, `KERAS` ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from mobilenets.specs.rows import Bottleneck, Conv, Fused, ResNetBottleneck, Row, Universal, make_divisible

SQUEEZE_SHARE = 4  # squeeze-excite narrows to a quarter of the expansion (V3, section 5.3)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a width multiplier turns a table's channels into a network's.

    Args:
        channels: what is built for a channel count that the width has scaled.
        expansion: "input" keeps the table's ratio to the channels that enter the block (slim, Keras, timm);
            "table" scales the table's own expansion (torchvision, PaddleClas). The same network only at width 1.
        stem_from: the width from which on the stem is scaled; below it keeps the table's channels.
        last: of the widest layer, before the classifier: "grows" above width 1 and is kept below it, "fixed" never changes,
            "scales" always does. V1 has no such layer.
        last_map: channels of V3's last map: the "table"'s, scaled, or "six_times" what enters it.
        depth: how many times as many rows a stage gets, rounded up; timm's "d" networks alone have any but 1.
    """

    channels: Callable[[float], int] = make_divisible
    expansion: Literal["input", "table"] = "input"
    stem_from: float = 0.0
    last: Literal["grows", "fixed", "scales"] = "grows"
    last_map: Literal["table", "six_times"] = "table"
    depth: float = 1.0

    def stem(self, c_table: int, width: float) -> int:
        """Channels of the first layer."""
        return self.channels(c_table * width) if width >= self.stem_from else c_table

    def last_layer(self, c_table: int, width: float) -> int:
        """Channels of the widest layer, before the classifier."""
        if self.last == "fixed" or (self.last == "grows" and width <= 1):
            return c_table
        return self.channels(c_table * width)


def scaled(rows: Sequence[Row], width: float, scaling: Scaling) -> tuple[Row, ...]:
    """A table's rows at `width`; the first one is the stem, a `Conv`."""
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
    """The rows with each stage, a run of equal output channels, `depth` times as deep, as timm repeats them.

    >>> stage = [Conv(8, stride=2), Conv(8), Conv(8)]
    >>> [row.stride for row in deepened(stage, 1.4)]
    [2, 1, 1, 1, 1]
    """
    return tuple(row for _, stage in groupby(rows, lambda row: row.c_out) for row in _deeper(list(stage), depth))


def _deeper(stage: list[Row], depth: float) -> list[Row]:
    runs = [(row, len(list(run))) for row, run in groupby(stage)]
    times: list[int] = []
    left, wanted = len(stage), math.ceil(len(stage) * depth)
    for _, run in reversed(runs):  # what is over goes to the later rows first
        times.insert(0, max(1, round(run / left * wanted)))
        left, wanted = left - run, wanted - times[0]
    if len(times) > 1:  # the row that strides stands once
        times[:2] = 1, times[1] + times[0] - 1
    return [row for (row, _), n in zip(runs, times, strict=True) for row in [row] * n]


def squeeze(c_expand: int) -> int:
    """Inner channels of squeeze-excite in a block with this expansion.

    >>> squeeze(72), squeeze(960)
    (24, 240)
    """
    return make_divisible(c_expand / SQUEEZE_SHARE)


def widened(conv: Conv, width: float, scaling: Scaling) -> Conv:
    """The widest layer at `width`."""
    return replace(conv, c_out=scaling.last_layer(conv.c_out, width))


def _expansion(c_expand: int, c_table: int, c_in: int, width: float, scaling: Scaling) -> int:
    if c_expand == c_table:
        return c_in
    if scaling.expansion == "table":
        return scaling.channels(c_expand * width)
    return make_divisible(c_in * c_expand / c_table)

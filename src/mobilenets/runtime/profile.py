"""`Profile`: what an exported network does, and the memory that it needs. It travels in the manifest, for `mobilenets info`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator.

    Args:
        name: of the module that it is from.
        operator: what it is, for people: "depthwise 3x3 /2".
        output: shape of what it makes, without the batch: C H W, P C or C.
        weights: numbers that it has learned. Batch norms are folded into them.
        macs: multiply-adds of one image.
        output_bytes: size of what it makes.
        live_bytes: size of everything that is needed at once while it runs.
    """

    name: str
    operator: str
    output: tuple[Count, ...]
    weights: Count
    macs: Count
    output_bytes: Count
    live_bytes: Count


@dataclass(frozen=True, slots=True)
class Profile:
    """The cost of one image.

    Args:
        layers: in the order in which they run.
        arena_bytes: one block of memory that holds all values, when each operator runs after the other.
        fused_bytes: the same when each block of the backbone runs row by row, so that its wide inner maps are never whole
            (V2, section 5.1).
    """

    layers: Annotated[tuple[Layer, ...], Meta(min_length=1, max_length=100_000)]
    arena_bytes: Count
    fused_bytes: Count

"""`Profile`: an exported network's operators, their cost and memory. The manifest holds it, for `mobilenets info`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator.

    Args:
        name: name of the module that it comes from.
        operator: description for people: "depthwise 3x3 /2".
        output: shape of its output without the batch: C H W, P C or C.
        weights: number of parameters. Batch norms are folded into them.
        macs: multiply-adds for one image.
        output_bytes: size of its output.
        live_bytes: total size of all activations that are needed while it runs.
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
        layers: the operators, in the order in which they run.
        arena_bytes: size of one memory block that holds all activations, if the operators run one after the other.
        fused_bytes: the same if each block of the backbone runs row by row, so that its wide inner feature maps are never held
            as a whole (V2, section 5.1).
    """

    layers: Annotated[tuple[Layer, ...], Meta(min_length=1, max_length=100_000)]
    arena_bytes: Count
    fused_bytes: Count

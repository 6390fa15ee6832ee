"""The baseline of a search: the width multiplier at several input sizes, as wide as the budget allows (V1, Tables 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mobilenets.errors import SpecError
from mobilenets.search.axes import IMAGE, resized, sizes
from mobilenets.search.costs import Budget, Costs, fits, spent
from mobilenets.search.telling import Telling, check_latency, measure, real
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import BackboneSpec, make_divisible

SIZES = (1.0, 7 / 8, 3 / 4, 5 / 8, 1 / 2)
"""Input sizes, relative to the start's."""
WIDTHS = tuple(i / 20 for i in range(20, 1, -1))
"""Widths, relative to the start's, in descending order."""
_SIDES = 8  # input sizes are multiples of it
_LEAST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Rung:
    """One network of the ladder.

    Args:
        width: width relative to the start's.
        spec: the network.
    """

    width: float
    spec: ModelSpec

    @property
    def name(self) -> str:
        """Its name for users and files: "96px-0.75"."""
        return f"{self.spec.input.size}px-{self.width:g}"


def ladder(start: ModelSpec, budget: Budget, costs: Costs, telling: Telling) -> list[Rung]:
    """The widest network within the budget for each input size, the largest size first; sizes that never fit are left out."""
    found: list[Rung] = []
    for share in SIZES:
        at_size = resampled(start, share)
        rungs = [Rung(width, replace(at_size, backbone=body)) for width in WIDTHS for body in _bodies(start.backbone, width)]
        low, high = -1, len(rungs)  # too wide, narrow enough
        while high - low > 1:
            middle = (low + high) // 2
            if "ms" in budget:
                measure(costs, [rungs[middle].spec], telling)
            if fits(spent(costs, rungs[middle].spec, budget), budget):
                high = middle
            else:
                low = middle
        while high < len(rungs) and "ms" in budget:
            check_latency(costs, [rungs[high].spec], telling)
            if fits(real(costs, rungs[high].spec, budget), budget):
                break
            high += 1
        if high < len(rungs) and all(rung.spec.input != at_size.input for rung in found):
            found.append(rungs[high])
    return found


def resampled(spec: ModelSpec, share: float) -> ModelSpec:
    """The same network with its input size scaled by a share."""
    height, width = (max(round(side * share / _SIDES) * _SIDES, min(side, _LEAST_SIDE)) for side in spec.input.shape)
    return replace(spec, input=spec.input.shaped(height, width))


def multiplied(body: BackboneSpec, share: float) -> BackboneSpec:
    """The network with its width scaled: by the paper's rule if it is a paper's network, else by scaling each axis.

    Raises:
        SpecError: the network would not have the same residuals.
    """
    if body.name in BACKBONES and backbone(body.name, width=body.width, in_channels=body.in_channels).rows == body.rows:
        other = backbone(body.name, width=body.width * share, in_channels=body.in_channels)
        return replace(body, rows=other.rows, tail=other.tail, width=body.width * share)
    channels = {axis: make_divisible(count * share) for axis, count in sizes(body).items() if axis != IMAGE}
    return replace(resized(body, channels), width=body.width * share)


def _bodies(body: BackboneSpec, width: float) -> list[BackboneSpec]:
    try:
        return [multiplied(body, width)]
    except SpecError:
        return []
